//! What holds for the layout of every layer.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn every_weight_has_one_place(
        (channels, side, outputs) in (1..6usize, 1..7usize, 1..20usize),
        (kernel, stride, padding) in (1..5usize, 1..4usize, 0..3usize),
    ) {
        let input = Shape { channels, height: side, width: side };
        let n = 64;
        let Ok(g) = Geometry::new("a", n, input, outputs, Window { kernel, stride, padding }) else {
            return Ok(());
        };
        let places: Vec<(usize, usize)> = g.weights_at().collect();
        prop_assert_eq!(places.len(), g.weights());
        prop_assert_eq!(g.weights(), outputs * g.window());
        prop_assert_eq!(places.iter().collect::<HashSet<_>>().len(), places.len());
        prop_assert!(places.iter().all(|&(row, coefficient)| row < g.rows() && coefficient < n));
        // No row is empty, and the blocks have all outputs.
        prop_assert_eq!(places.iter().map(|place| place.0).collect::<HashSet<_>>().len(), g.rows());
        prop_assert!((0..g.blocks()).flat_map(|block| g.outputs_of(block)).eq(0..outputs));
        prop_assert_eq!(g.rows(), g.blocks() * g.rows_of_block());
        // Weights that were put there are found there.
        let mut rows = vec![vec![0; n]; g.rows()];
        for (weight, &(row, coefficient)) in (1..).zip(&places) {
            rows[row][coefficient] = weight;
        }
        let found: Vec<i32> = places.iter().map(|&(row, at)| rows[row][at]).collect();
        prop_assert!(found.into_iter().eq(1..=places.len() as i32));
        // A window has each weight and each input once at most.
        for window in g.windows() {
            let weights: HashSet<usize> = window.iter().map(|pair| pair.0).collect();
            let inputs: HashSet<usize> = window.iter().map(|pair| pair.1).collect();
            prop_assert_eq!((weights.len(), inputs.len()), (window.len(), window.len()));
            prop_assert!(weights.iter().all(|&weight| weight < g.window()));
            prop_assert!(inputs.iter().all(|&i| i < input.len()));
        }
    }

    #[test]
    fn cells_have_all_of_a_map(
        (channels, height, width) in (1..4usize, 1..5usize, 1..5usize),
        (side, stride) in (1..5usize, 1..5usize),
    ) {
        let (cell, cells) = (Shape { channels, height, width }, Cells { side, stride });
        let map = cells.map(cell);
        let mut seen = vec![0; map.len()];
        for index in 0..cells.count() {
            let mut of_cell = HashSet::new();
            for c in 0..channels {
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let at = cells.at(cell, index, (c, y, x));
                    prop_assert!(of_cell.insert(at));
                    seen[at] += 1;
                }
            }
        }
        prop_assert_eq!(seen.iter().sum::<usize>(), cells.count() * cell.len());
        // Cells that touch each other leave nothing out; those that do not overlap share nothing.
        prop_assert!(stride > height.min(width) || seen.iter().all(|&times| times > 0));
        prop_assert!(stride < height.max(width) || seen.iter().all(|&times| times < 2));
    }
}
