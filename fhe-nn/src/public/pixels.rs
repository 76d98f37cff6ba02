//! Pixels as the integers that a network takes.

use ndarray::{Array2, ArrayView2};

use super::config::PublicNetworkConfig;
use super::geometry::{values_expected, values_of};
use super::{PublicError, Result};

impl PublicNetworkConfig {
    /// Returns images as the integers that the network takes. Pixels from 0 to 255 become the
    /// integers from `levels.0` to `levels.1`, rounded, and the channels of a position come together.
    ///
    /// # Shapes
    /// `[images, channels * height * width] -> [images, height * width * channels]`.
    ///
    /// # Errors
    /// [`PublicError::Images`] if the images are of another size.
    ///
    /// # Examples
    /// ```
    /// use fhe_nn::public::PublicNetworkConfig;
    /// use ndarray::array;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config: PublicNetworkConfig = serde_json::from_str(
    ///     r#"{
    ///         "input": { "channels": 2, "height": 1, "width": 2 },
    ///         "levels": [-7, 8],
    ///         "layers": []
    ///     }"#,
    /// )?;
    /// // First the two pixels of one channel, then those of the other.
    /// let integers = config.integers(array![[0u8, 255, 17, 34]].view())?;
    /// assert_eq!(integers, array![[-7, -6, 8, -5]]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn integers(&self, pixels: ArrayView2<'_, u8>) -> Result<Array2<i64>> {
        let input = self.input;
        let Some(len) = values_of(input) else {
            return Err(PublicError::network("input", input, values_expected()));
        };
        if pixels.ncols() != len {
            let expected = format!("{len}, as the network takes {input}");
            let what = "number of pixels of an image";
            return Err(PublicError::images(what, pixels.ncols(), expected));
        }
        let (low, high) = (i128::from(self.levels.0), i128::from(self.levels.1));
        let scaled: [i64; 256] =
            std::array::from_fn(|pixel| (low + (pixel as i128 * (high - low) + 127) / 255) as i64);
        let (channels, area) = (input.channels, input.area());
        Ok(Array2::from_shape_fn((pixels.nrows(), len), |(image, i)| {
            scaled[usize::from(pixels[[image, i % channels * area + i / channels]])]
        }))
    }
}
