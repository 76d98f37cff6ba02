//! Candidates: what there is to choose from, and what is predicted of it.

use fhe_core::noise::Noise;
use fhe_core::params::Gadget;
use fhe_core::{Params, ParamsSpec, Result};
use serde::{Deserialize, Serialize};

use super::measure::Measurement;

/// Short keys of tfhe-rs 1.8.2, `src/shortint/parameters`: for each file pairs of dimension and b
/// of TUniform(b), modulus 2^64.
///
/// They are all such pairs of the compute sets that `v1_8` names, each in the file where its
/// numbers stand: many names of `v1_8` point to sets of older versions.
const SHORT_KEYS: [(&str, &[(usize, u32)]); 3] = [
    ("v1_8/classic/tuniform/p_fail_2_minus_128/ks_pbs_gpu.rs", &[(720, 50), (759, 49)]),
    (
        "v1_4/classic/tuniform/p_fail_2_minus_128/ks_pbs.rs",
        &[(879, 46), (918, 45), (1077, 41), (1117, 40)],
    ),
    (
        "v1_1/multi_bit/tuniform/p_fail_2_minus_128/ks_pbs.rs",
        &[
            (760, 49),
            (800, 48),
            (801, 48),
            (920, 45),
            (998, 43),
            (999, 43),
            (1040, 42),
            (1119, 40),
            (1158, 39),
            (1160, 39),
        ],
    ),
];
/// Bits of a digit and number of digits of a lookup.
const LOOKUPS: [(u32, u32); 7] = [(22, 1), (23, 1), (14, 2), (15, 2), (16, 2), (12, 3), (13, 3)];
/// The same of a key switch. Fewer digits cost less, and wider ones multiply the short key's noise.
const KEY_SWITCHES: [(u32, u32); 2] = [(3, 4), (4, 3)];
/// What the head's recipe needs.
pub const NEED: Need = Need { output: -20.5, input: -6.5 };

/// Largest noise of a lookup's output and input, log2 of the standard deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Need {
    pub(crate) output: f64,
    pub(crate) input: f64,
}

/// One kind of lookup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub(crate) short_dimension: usize,
    pub(crate) short_noise_bits: u32,
    /// File of tfhe-rs that has this pair.
    source: String,
    pub(crate) lookup_group: usize,
    pub(crate) lookup: Gadget,
    pub(crate) key_switch: Gadget,
    /// Noise, keys and work.
    pub predicted: Prediction,
    /// Whether it is within [`NEED`].
    pub meets_need: bool,
    /// None until it is measured.
    pub measured: Option<Measurement>,
}

/// What the formulas say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Noise that a lookup's output has, log2 of the standard deviation.
    pub output_log2_std: f64,
    /// Noise with which a lookup reads its input.
    pub input_log2_std: f64,
    /// The blind rotation's key as it is stored: seeds and bodies.
    pub key_bytes_on_disk: usize,
    /// The same key transformed.
    pub key_bytes_in_memory: usize,
    work: Work,
}

/// What a lookup does, in units that depend on the row size alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Work {
    /// Fourier transforms, forward and backward.
    transforms: usize,
    /// Pointwise products of polynomials.
    products: usize,
    /// Products of a digit with an element of the key switch's key, for each mask element.
    key_switch: usize,
}

/// Returns every combination whose group divides the dimension.
///
/// # Errors
/// [`fhe_core::Error::Params`] if no such set can be.
pub fn all(default: &ParamsSpec) -> Result<Vec<Candidate>> {
    let pairs = SHORT_KEYS.iter().flat_map(|(file, pairs)| pairs.iter().map(move |p| (*file, *p)));
    let mut all = Vec::new();
    for (source, (short_dimension, short_noise_bits)) in pairs {
        for lookup_group in (1..=4).filter(|&g| short_dimension.is_multiple_of(g)) {
            for lookup in LOOKUPS.map(gadget) {
                for key_switch in KEY_SWITCHES.map(gadget) {
                    let params = Params::new(ParamsSpec {
                        name: "candidate".into(),
                        short_dimension,
                        short_noise_bits,
                        key_switch,
                        lookup,
                        lookup_group,
                        ..default.clone()
                    })?;
                    all.push(Candidate::new(source, &params));
                }
            }
        }
    }
    all.sort_by_key(|c| (c.short_dimension, c.lookup_group));
    Ok(all)
}

fn gadget((base_log, levels): (u32, u32)) -> Gadget {
    Gadget { base_log, levels }
}

/// Returns the indices of what is worth its time: the candidates that meet the need and that no
/// other such beats, and the default set with every group.
#[must_use]
pub fn promising(candidates: &[Candidate], default: &ParamsSpec) -> Vec<usize> {
    let enough: Vec<_> = candidates.iter().filter(|c| c.meets_need).collect();
    let best = |c: &Candidate| c.meets_need && !enough.iter().any(|other| other.beats(c));
    let is_default = |c: &Candidate| {
        (c.short_dimension, c.lookup, c.key_switch)
            == (default.short_dimension, default.lookup, default.key_switch)
    };
    (0..candidates.len()).filter(|&i| best(&candidates[i]) || is_default(&candidates[i])).collect()
}

impl Candidate {
    fn new(source: &str, params: &Params) -> Self {
        let predicted = Prediction::new(params);
        let (output, input) = (predicted.output_log2_std, predicted.input_log2_std);
        Self {
            short_dimension: params.short_dimension,
            short_noise_bits: params.short_noise_bits,
            source: source.into(),
            lookup_group: params.lookup_group,
            lookup: params.lookup,
            key_switch: params.key_switch,
            predicted,
            meets_need: output <= NEED.output && input <= NEED.input,
            measured: None,
        }
    }

    /// Returns the parameter set: the default's, with this lookup.
    ///
    /// # Errors
    /// [`fhe_core::Error::Params`] if no such set can be.
    pub fn params(&self, default: &ParamsSpec) -> Result<Params> {
        Params::new(ParamsSpec {
            name: "candidate".into(),
            short_dimension: self.short_dimension,
            short_noise_bits: self.short_noise_bits,
            key_switch: self.key_switch,
            lookup: self.lookup,
            lookup_group: self.lookup_group,
            ..default.clone()
        })
    }

    /// Returns whether this one does no more work of any kind; of two with equal work the less
    /// noisy one wins.
    fn beats(&self, other: &Self) -> bool {
        let (a, b) = (&self.predicted, &other.predicted);
        if a.work == b.work {
            return a.output_log2_std < b.output_log2_std;
        }
        a.work.transforms <= b.work.transforms
            && a.work.products <= b.work.products
            && a.work.key_switch <= b.work.key_switch
    }

    /// Returns a short name: dimension and bits of a step, lookup, key switch.
    #[must_use]
    pub fn name(&self) -> String {
        let (l, k) = (self.lookup, self.key_switch);
        format!(
            "{}/{}, {}x{}, {}x{}",
            self.short_dimension, self.lookup_group, l.base_log, l.levels, k.base_log, k.levels
        )
    }
}

impl Prediction {
    fn new(params: &Params) -> Self {
        let noise = Noise::new(params);
        let steps = params.short_dimension / params.lookup_group;
        let patterns = (1 << params.lookup_group) - 1;
        let levels = params.lookup.levels as usize;
        // A selector of a bit pattern is 2 l rows, each a mask and a body.
        let rows = patterns * 2 * levels;
        Self {
            output_log2_std: noise.lookup().log2() / 2.0,
            input_log2_std: noise.lookup_input(1).log2() / 2.0,
            key_bytes_on_disk: steps * (16 + rows * params.row_size * 8),
            key_bytes_in_memory: steps * rows * 2 * params.row_size * 8,
            work: Work {
                transforms: steps * 2 * (levels + 1),
                products: steps * rows * 2,
                key_switch: params.short_dimension * params.key_switch.levels as usize,
            },
        }
    }
}
