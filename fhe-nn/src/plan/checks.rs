//! The checks of a configuration, one rule a function.

use fhe_core::params::Gadget;

use crate::activation::Activation;
use crate::{Error, LayerConfig, NetworkConfig, Result, Shape};

/// Largest number of outputs of a layer.
const MAX_OUTPUTS: usize = 65_536;

/// Largest number of levels, largest spacing and largest offset of an activation.
const MAX_LEVEL: i32 = 1023;

fn setting<T>(
    layer: &str,
    what: &'static str,
    got: impl ToString,
    expected: impl Into<String>,
) -> Result<T> {
    let (layer, got, expected) = (layer.into(), got.to_string(), expected.into());
    Err(Error::Setting { layer, what, got, expected })
}

/// Checks what all layers share.
pub(super) fn network(config: &NetworkConfig, n: usize) -> Result<()> {
    if config.layers.is_empty() {
        return setting("network", "the number of layers", 0, "at least 1");
    }
    if !(1.0..=1024.0).contains(&config.z_range) {
        return setting("network", "z_range", config.z_range, "1 to 1024");
    }
    let side = config.cells.side;
    if side == 0 || side > n || !(side * side).is_power_of_two() || side * side > n {
        return setting(
            "network",
            "cells.side",
            side,
            "a power of two, whose square N has room for",
        );
    }
    if config.cells.stride == 0 || config.cells.stride > n {
        return setting("network", "cells.stride", config.cells.stride, format!("1 to {n}"));
    }
    let Shape { channels, height, width } = config.input;
    if channels > n || height > n || width > n {
        return setting("network", "input", config.input, format!("at most {n} of each"));
    }
    Ok(())
}

/// Checks that the sizes of a layer are small enough to compute with.
pub(super) fn sizes(layer: &LayerConfig, n: usize) -> Result<()> {
    let LayerConfig { name, outputs, kernel, padding, .. } = layer;
    if *outputs > MAX_OUTPUTS {
        return setting(name, "outputs", outputs, format!("at most {MAX_OUTPUTS}"));
    }
    if *kernel > n {
        return setting(name, "kernel", kernel, format!("at most {n}"));
    }
    if padding > kernel {
        return setting(name, "padding", padding, format!("at most the window, {kernel}"));
    }
    Ok(())
}

/// Checks that no earlier layer has a layer's name.
pub(super) fn name(layer: &LayerConfig, earlier: &[LayerConfig]) -> Result<()> {
    if earlier.iter().any(|earlier| earlier.name == layer.name) {
        return Err(Error::RepeatedName { layer: layer.name.clone() });
    }
    Ok(())
}

/// Returns the activation of a layer: every layer but the last has one.
pub(super) fn activation(layer: &LayerConfig, last: bool) -> Result<Option<Activation>> {
    let name = &layer.name;
    if let Some(activation) = &layer.activation {
        numbers(name, activation)?;
    }
    match (last, layer.activation) {
        (false, None) => {
            setting(name, "activation", "missing", "one after every layer but the last")
        }
        (true, Some(_)) => setting(name, "activation", "there", "none after the last layer"),
        (_, activation) => Ok(activation),
    }
}

/// Checks the numbers of an activation.
fn numbers(name: &str, activation: &Activation) -> Result<()> {
    let small = 1..=MAX_LEVEL;
    let Activation { levels, range, offset, spacing, .. } = activation;
    if !small.contains(levels) {
        return setting(name, "activation.levels", levels, format!("1 to {MAX_LEVEL}"));
    }
    if !small.contains(spacing) {
        return setting(name, "activation.spacing", spacing, format!("1 to {MAX_LEVEL}"));
    }
    if !(-MAX_LEVEL..=MAX_LEVEL).contains(offset) {
        let expected = format!("-{MAX_LEVEL} to {MAX_LEVEL}");
        return setting(name, "activation.offset", offset, expected);
    }
    if !range.is_finite() || *range <= 0.0 {
        return setting(name, "activation.range", range, "more than 0");
    }
    Ok(())
}

/// Checks that windows of pooling fill a map.
pub(super) fn pool(layer: &LayerConfig, output: Shape) -> Result<()> {
    let pool = layer.pool;
    if pool == 0 || !output.height.is_multiple_of(pool) || !output.width.is_multiple_of(pool) {
        let got = format!("{pool} on {output}");
        return setting(&layer.name, "pool", got, "a divisor of both sides");
    }
    Ok(())
}

/// Checks that the last layer is followed by nothing.
pub(super) fn nothing_follows(layer: &LayerConfig, output: Shape) -> Result<()> {
    if layer.pool != 1 {
        return setting(&layer.name, "pool", layer.pool, "1 after the last layer");
    }
    if layer.residual.is_some() {
        return Err(residual_error(layer, output));
    }
    Ok(())
}

/// Returns the error of a residual connection that cannot be.
pub(super) fn residual_error(layer: &LayerConfig, output: Shape) -> Error {
    Error::Setting {
        layer: layer.name.clone(),
        what: "residual",
        got: format!("{:?}", layer.residual.as_deref().unwrap_or_default()),
        expected: format!(
            "an earlier layer with an output of {output} and the same spacing, before the last"
        ),
    }
}

/// Checks that the integers of an output fit half a digit of a promotion.
pub(super) fn integers(layer: &LayerConfig, range: (i32, i32), gadget: Gadget) -> Result<()> {
    let ((low, high), bound) = (range, (1i32 << (gadget.base_log - 1)) - 1);
    if low < -bound || high > bound {
        return Err(Error::Integers { layer: layer.name.clone(), low, high, bound });
    }
    Ok(())
}
