//! The runtime that computes a model: tract.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    InferenceModelExt, IntoRunnable, IntoTValue, TVec, Tensor, TractResult, TypedSimplePlan,
};

use super::BackboneError;

/// Characters at most of what the runtime says: it may print whole tensors.
const MOST_CHARACTERS: usize = 400;

/// Domains of the operators that the runtime knows; it does not look at domains itself.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// A model that is ready to run. Many threads may use it at a time; one run is in one thread.
pub(super) struct Network {
    plan: Arc<TypedSimplePlan>,
    input: [usize; 4],
    /// Features of a picture.
    pub(super) width: usize,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("input", &self.input).field("width", &self.width).finish()
    }
}

/// Returns a function that says whether there is an operator: by its domain and its name.
pub(super) fn operators() -> impl Fn(&str, &str) -> bool {
    let known = tract_onnx::onnx().op_register.0;
    move |domain, name| DOMAINS.contains(&domain) && known.contains_key(name)
}

impl Network {
    /// Translates and optimises a model of one input, of shape `input`, and one output, `value`.
    pub(super) fn prepare(
        model: &ModelProto,
        input: [usize; 4],
        value: &str,
    ) -> Result<Self, BackboneError> {
        let parsed = guarded("reading the model's operators", || {
            tract_onnx::onnx().parse(model, None).map(|parsed| parsed.model)
        })?;
        let typed = guarded("deriving the model's shapes", || parsed.into_typed())?;
        let fact = guarded("deriving the model's shapes", || typed.output_fact(0).cloned())?;
        let shape = fact.shape.as_concrete().filter(|shape| !shape.is_empty());
        let width = shape.and_then(|shape| row(shape, input[0])).ok_or_else(|| {
            let axes: Vec<String> = fact.shape.iter().map(ToString::to_string).collect();
            BackboneError::FeatureShape { value: value.to_owned(), got: axes.join(" x ") }
        })?;
        let plan = guarded("optimising the model", || typed.into_optimized()?.into_runnable())?;
        Ok(Self { plan, input, width })
    }

    /// Computes the features of a group of pictures, `[group, width]`.
    pub(super) fn run(&self, numbers: &[f32]) -> Result<Vec<f32>, BackboneError> {
        guarded("running the model", || {
            let input = Tensor::from_shape(&self.input, numbers)?;
            let outputs = self.plan.run(TVec::from_elem(input.into_tvalue(), 1))?;
            let mut values = Vec::new();
            for output in outputs {
                let output = output.cast_to::<f32>()?;
                values.extend(output.to_plain_array_view::<f32>()?.iter());
            }
            Ok(values)
        })
    }
}

/// Returns the numbers of a picture, if all lie along one axis.
fn row(shape: &[usize], batch: usize) -> Option<usize> {
    let axes = match shape.split_first() {
        Some((&first, rest)) if first == batch => rest,
        // A single picture may have lost the axis that counts pictures.
        _ if batch == 1 => shape,
        _ => return None,
    };
    let mut long = axes.iter().copied().filter(|&axis| axis != 1);
    let width = long.next().unwrap_or(1);
    (long.next().is_none() && width > 0).then_some(width)
}

/// Runs a stage of the runtime, and turns all its failures into errors.
///
/// The runtime panics on some files that are no valid models: for instance, it has
/// `unimplemented!` where weights are texts in raw bytes (`tensor.rs`, version 0.23), and
/// operators unwrap attributes. What is caught leaves nothing behind but the value of the stage,
/// which is dropped.
fn guarded<T>(
    stage: &'static str,
    work: impl FnOnce() -> TractResult<T>,
) -> Result<T, BackboneError> {
    let cause = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => said(panic.as_ref()),
    };
    let cause = match cause.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}...", &cause[..end]),
        None => cause,
    };
    Err(BackboneError::Runtime { stage, cause })
}

/// Returns the message of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "the runtime gave up".into())
}
