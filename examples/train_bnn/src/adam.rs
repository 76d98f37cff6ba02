//! Adam, whose state can be kept.

use std::collections::HashMap;

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::model::finite;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) on named variables.
///
/// Candle's own keeps its moments to itself: what cannot be saved cannot go on as it was.
pub(crate) struct Adam {
    variables: Vec<Moments>,
    /// Steps that were made.
    steps: usize,
}

/// A variable, and the running means of its gradient and of that squared.
struct Moments {
    name: String,
    variable: Var,
    first: Tensor,
    second: Tensor,
}

impl Adam {
    /// Begins at zero.
    pub(crate) fn new(variables: Vec<(String, Var)>) -> Result<Self> {
        let begin = |(name, variable): (String, Var)| {
            let zeros = variable.zeros_like()?;
            Ok(Moments { name, variable, first: zeros.clone(), second: zeros })
        };
        Ok(Self { variables: variables.into_iter().map(begin).collect::<Result<_>>()?, steps: 0 })
    }

    /// Returns the moments by name, for [`Adam::set`].
    pub(crate) fn saved(&self) -> Vec<(String, Tensor)> {
        let both = |of: &Moments| {
            [(first(&of.name), of.first.clone()), (second(&of.name), of.second.clone())]
        };
        self.variables.iter().flat_map(both).collect()
    }

    /// Takes the moments of a checkpoint, after so many steps.
    pub(crate) fn set(&mut self, saved: &HashMap<String, Tensor>, steps: usize) -> Result<()> {
        for of in &mut self.variables {
            let take = |name: String| {
                let tensor = saved.get(&name).filter(|t| t.shape() == of.variable.shape());
                let tensor = tensor.with_context(|| format!("no tensor {name} of its shape"))?;
                finite(&name, tensor)?;
                anyhow::Ok(tensor.clone())
            };
            (of.first, of.second) = (take(first(&of.name))?, take(second(&of.name))?);
        }
        self.steps = steps;
        Ok(())
    }

    /// Moves each variable against its gradient.
    pub(crate) fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        self.steps += 1;
        let unbiased = |beta: f64| 1.0 / (1.0 - beta.powf(self.steps as f64));
        let (scale1, scale2) = (unbiased(BETA1), unbiased(BETA2));
        for of in &mut self.variables {
            let Some(g) = gradients.get(&of.variable) else { continue };
            of.first = ((&of.first * BETA1)? + (g * (1.0 - BETA1))?)?.detach();
            of.second = ((&of.second * BETA2)? + (g.sqr()? * (1.0 - BETA2))?)?.detach();
            let spread = ((&of.second * scale2)?.sqrt()? + EPSILON)?;
            let step = ((&of.first * scale1)? / spread)?;
            of.variable.set(&(of.variable.as_tensor() - (step * rate)?)?)?;
        }
        Ok(())
    }
}

fn first(variable: &str) -> String {
    format!("adam.first.{variable}")
}

fn second(variable: &str) -> String {
    format!("adam.second.{variable}")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_nn::{AdamW, Optimizer, ParamsAdamW};

    use super::*;

    fn start() -> Var {
        Var::new(&[0.5f32, -0.25, 0.125], &Device::Cpu).unwrap()
    }

    /// The gradient of `sum (x - 1)^2 x^2`.
    fn gradients(x: &Var) -> GradStore {
        let one = (x.as_tensor() - 1.0).unwrap().sqr().unwrap();
        (one * x.as_tensor().sqr().unwrap()).unwrap().sum_all().unwrap().backward().unwrap()
    }

    fn values(x: &Var) -> Vec<f32> {
        x.to_vec1().unwrap()
    }

    #[test]
    fn steps_are_those_of_candle() {
        let (mine, other) = (start(), start());
        let mut adam = Adam::new(vec![("x".into(), mine.clone())]).unwrap();
        let settings = ParamsAdamW { lr: 0.01, weight_decay: 0.0, ..ParamsAdamW::default() };
        let mut candle = AdamW::new(vec![other.clone()], settings).unwrap();
        for _ in 0..20 {
            adam.step(&gradients(&mine), 0.01).unwrap();
            candle.step(&gradients(&other)).unwrap();
        }
        assert_eq!(values(&mine), values(&other));
        assert_ne!(values(&mine), values(&start()));
    }

    #[test]
    fn what_was_saved_goes_on_as_it_was() {
        let whole = start();
        let named = |x: &Var| vec![("x".to_owned(), x.clone())];
        let mut adam = Adam::new(named(&whole)).unwrap();
        (0..3).for_each(|_| adam.step(&gradients(&whole), 0.01).unwrap());
        let saved: HashMap<String, Tensor> = adam.saved().into_iter().collect();
        let resumed = Var::from_tensor(&whole.as_tensor().copy().unwrap()).unwrap();
        (0..3).for_each(|_| adam.step(&gradients(&whole), 0.01).unwrap());
        let mut later = Adam::new(named(&resumed)).unwrap();
        later.set(&saved, 3).unwrap();
        (0..3).for_each(|_| later.step(&gradients(&resumed), 0.01).unwrap());
        assert_eq!(values(&resumed), values(&whole));
        let error = later.set(&HashMap::new(), 3).unwrap_err().to_string();
        assert_eq!(error, "no tensor adam.first.x of its shape");
    }
}
