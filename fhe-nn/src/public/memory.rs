//! What a network holds on its way, and how many images a memory has room for.

use fhe_core::Params;

use super::network::PublicNetwork;

impl PublicNetwork {
    /// Returns the most encrypted values that are held at a time for an image on its way through
    /// the layers: the image, and with it what a layer takes and gives, and the pre-activations
    /// that a later layer adds.
    ///
    /// # Examples
    /// ```
    /// use fhe_nn::public::{LayerWeights, PublicNetwork};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = serde_json::from_str(
    ///     r#"{
    ///         "input": { "channels": 2, "height": 1, "width": 1 },
    ///         "levels": [-1, 1],
    ///         "layers": [
    ///             { "name": "hidden", "outputs": 3, "kernel": 1,
    ///               "activation": { "first": -1, "step": 2, "thresholds": 1 } },
    ///             { "name": "score", "outputs": 1, "kernel": 1 }
    ///         ]
    ///     }"#,
    /// )?;
    /// let of = |row: Vec<i32>, outputs: usize| LayerWeights {
    ///     weights: vec![row; outputs],
    ///     thresholds: vec![vec![0]; outputs],
    /// };
    /// let weights = vec![of(vec![1, 1], 3), of(vec![1, -1, 1], 1)];
    /// let params = fhe_core::Params::secure128_bnn()?;
    /// let network = PublicNetwork::new(&config, weights, params.row_size)?;
    /// // The image, three pre-activations and their three signs.
    /// assert_eq!(network.values_of_image(), 2 + 3 + 3);
    /// // A value takes 8 (N + 1) bytes.
    /// assert_eq!(network.bytes_of_image(&params), 8 * 8 * 2049);
    /// assert_eq!(network.images_within(&params, 1_000_000), 7);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn values_of_image(&self) -> usize {
        let mut most = 0;
        for (i, layer) in self.layers.iter().enumerate() {
            let s = layer.conv.geometry().output().len();
            let x = i.checked_sub(1).map_or(0, |before| self.layers[before].plan.output.len());
            // Sums are made beside what they are of, and those that a later layer adds are copied.
            let copy = if self.last_use(i).is_some() { s } else { 0 };
            let added = |j: &usize| self.last_use(*j) >= Some(i);
            most = most.max(x + s + copy + self.kept((0..i).filter(added)));
            // Then they are looked up, and what they gave is pooled: by sums and their maxima.
            let (a, pooled) = (layer.plan.activations.len(), layer.plan.output.len());
            let looked_up = match (i + 1 == self.layers.len(), layer.pool) {
                (true, _) => s,
                (false, None) => s + a,
                (false, Some(_)) => (s + a).max(a + 2 * pooled),
            };
            let to_come = |j: &usize| self.last_use(*j) > Some(i);
            most = most.max(looked_up + self.kept((0..=i).filter(to_come)));
        }
        // The mirror image is a second image.
        most + self.config().passes() * self.config().input.len()
    }

    /// Returns the bytes of [`PublicNetwork::values_of_image`]: `8 (N + 1)` a value.
    #[must_use]
    pub fn bytes_of_image(&self, params: &Params) -> u64 {
        (self.values_of_image() as u64).saturating_mul(8 * (params.row_size as u64 + 1))
    }

    /// Returns how many images at a time find room in so many bytes of values. It may be none.
    #[must_use]
    pub fn images_within(&self, params: &Params, bytes: u64) -> usize {
        usize::try_from(bytes / self.bytes_of_image(params)).unwrap_or(usize::MAX)
    }

    /// Returns the number of pre-activations of some layers.
    fn kept(&self, layers: impl Iterator<Item = usize>) -> usize {
        let residual = |j: &usize| self.last_use(*j).is_some();
        layers.filter(residual).map(|j| self.layers[j].conv.geometry().output().len()).sum()
    }
}
