//! Pooling of maps, and its way back. Maps lie channel by channel, `[c][s][y][x]`.

use fhe_nn::Shape;

/// Returns the sums over windows of `side` rows and columns of maps of a shape.
pub(super) fn pool(map: Vec<f32>, shape: Shape, side: usize) -> Vec<f32> {
    if side == 1 {
        return map;
    }
    let mut out = vec![0.0; map.len() / (side * side)];
    for (i, x) in map.iter().enumerate() {
        out[pooled(i, shape, side)] += x;
    }
    out
}

/// Returns the way back: errors go to all of their window.
pub(super) fn unpool(errors: Vec<f32>, shape: Shape, side: usize) -> Vec<f32> {
    if side == 1 {
        return errors;
    }
    (0..errors.len() * side * side).map(|i| errors[pooled(i, shape, side)]).collect()
}

/// Returns where an element of a map goes.
fn pooled(i: usize, shape: Shape, side: usize) -> usize {
    let (height, width) = (shape.height, shape.width);
    let (plane, y, x) = (i / (height * width), i / width % height, i % width);
    (plane * (height / side) + y / side) * (width / side) + x / side
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_adds_windows_and_its_way_back_repeats() {
        let shape = Shape { channels: 1, height: 2, width: 4 };
        let map: Vec<f32> = (0..16u8).map(f32::from).collect();
        let sums = pool(map, shape, 2);
        assert_eq!(sums, [10.0, 18.0, 42.0, 50.0]);
        let back = unpool(sums, shape, 2);
        assert_eq!(back[..8], [10.0, 10.0, 18.0, 18.0, 10.0, 10.0, 18.0, 18.0]);
    }
}
