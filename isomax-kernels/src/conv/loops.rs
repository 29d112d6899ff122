//! The two loops behind all convolutions, on lines.
//!
//! Images lie on lines, one or more for each channel, so that what an output at position `p` reads for one
//! weight is `line[column + p]`: a weight is a *column*, the place where its reading begins. Vectors may run
//! straight across the ends of rows; what they compute between rows is dropped later.

use pulp::{Simd, WithSimd};

use crate::simd::{load, store};

/// What is read and written behind the last position, at most: one of the widest vectors.
pub(super) const SLACK: usize = 16;

/// Computes vectors `sums[output][v] = Σ weight[output][column] · input[columns[column] + starts[v]]`.
pub(super) struct Correlate<'a, const O: usize> {
    pub input: &'a [f32],
    pub columns: &'a [usize],
    /// Columns after which sums are put down, so that what the next outputs read again is still near.
    pub at_once: usize,
    /// `[block of outputs][column]`.
    pub weight: &'a [[f32; O]],
    /// Where each vector reads for a column that begins at 0.
    pub starts: &'a [usize],
    /// Lines of whole blocks of outputs, each as long as all vectors or longer.
    pub sums: &'a mut [f32],
    pub line: usize,
}

impl<const O: usize> WithSimd for Correlate<'_, O> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = self.starts.len();
        // Sums of a block fill the registers: 16 hold 4 × 3 and what is read, 32 hold 4 × 6.
        let most = match (S::REGISTER_COUNT >= 32, O) {
            (_, 1) => 8,
            (true, _) => 6,
            (false, _) => 3,
        };
        let tiles = vectors.div_ceil(most);
        let mut first = 0;
        loop {
            let columns = first..self.columns.len().min(first + self.at_once);
            for tile in 0..tiles {
                // Tiles of sizes as equal as can be.
                let (from, to) = (vectors * tile / tiles, vectors * (tile + 1) / tiles);
                let columns = columns.clone();
                match to - from {
                    0 => (),
                    1 => self.tile::<S, 1>(simd, columns, from),
                    2 => self.tile::<S, 2>(simd, columns, from),
                    3 => self.tile::<S, 3>(simd, columns, from),
                    4 => self.tile::<S, 4>(simd, columns, from),
                    5 => self.tile::<S, 5>(simd, columns, from),
                    6 => self.tile::<S, 6>(simd, columns, from),
                    7 => self.tile::<S, 7>(simd, columns, from),
                    _ => self.tile::<S, 8>(simd, columns, from),
                }
            }
            first += self.at_once;
            if first >= self.columns.len() {
                break;
            }
        }
    }
}

impl<const O: usize> Correlate<'_, O> {
    /// Adds some columns to `N` vectors of all outputs.
    #[inline(always)]
    fn tile<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        columns: std::ops::Range<usize>,
        first: usize,
    ) {
        let starts: [usize; N] = std::array::from_fn(|vector| self.starts[first + vector]);
        // Then one look at the bounds will do for all.
        let are_neighbours = starts.windows(2).all(|pair| pair[0] + S::F32_LANES == pair[1]);
        match are_neighbours {
            true => self.add::<S, N, true>(simd, columns, first, starts),
            false => self.add::<S, N, false>(simd, columns, first, starts),
        }
    }

    #[inline(always)]
    fn add<S: Simd, const N: usize, const ARE_NEIGHBOURS: bool>(
        &mut self,
        simd: S,
        columns: std::ops::Range<usize>,
        first: usize,
        starts: [usize; N],
    ) {
        let position = first * S::F32_LANES;
        let blocks = self.sums.chunks_exact_mut(O * self.line);
        for (block, lines) in blocks.enumerate() {
            let mut lines = lines.chunks_exact_mut(self.line);
            let places: [&mut [f32]; O] =
                std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[position..]);
            let mut sums: [[S::f32s; N]; O] = match columns.start {
                0 => [[simd.splat_f32s(0.0); N]; O],
                _ => std::array::from_fn(|output| load::<S, N>(places[output])),
            };
            let weight = &self.weight[block * self.columns.len()..][columns.clone()];
            for (&column, weight) in self.columns[columns.clone()].iter().zip(weight) {
                let input = &self.input[column..];
                let values: [S::f32s; N] = if ARE_NEIGHBOURS {
                    load::<S, N>(&input[starts[0]..])
                } else {
                    std::array::from_fn(|vector| {
                        let [values] = load::<S, 1>(&input[starts[vector]..]);
                        values
                    })
                };
                for (sums, &weight) in sums.iter_mut().zip(weight) {
                    let weight = simd.splat_f32s(weight);
                    for (sum, &value) in sums.iter_mut().zip(&values) {
                        *sum = simd.mul_add_e_f32s(value, weight, *sum);
                    }
                }
            }
            for (place, sums) in places.into_iter().zip(sums) {
                store::<S, N>(place, sums);
            }
        }
    }
}

/// Adds `Σ upstream[line][output][p] · input[line][columns[column] + p]` to `gradient[output][column]`, over lines of
/// images and positions.
pub(super) struct WeightGradient<'a> {
    /// Lines of the images, each `input_image` long.
    pub input: &'a [f32],
    pub input_image: usize,
    pub columns: &'a [usize],
    /// `[line][output]`, zero between rows and behind the last position.
    pub upstream: &'a [f32],
    pub outputs: usize,
    pub line: usize,
    pub positions: usize,
    /// What is added to.
    pub gradient: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut output = 0;
        if S::REGISTER_COUNT >= 32 {
            while output + 8 <= self.outputs {
                self.outputs::<S, 8>(simd, output);
                output += 8;
            }
        }
        while output + 4 <= self.outputs {
            self.outputs::<S, 4>(simd, output);
            output += 4;
        }
        while output < self.outputs {
            self.outputs::<S, 1>(simd, output);
            output += 1;
        }
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn outputs<S: Simd, const O: usize>(&mut self, simd: S, output: usize) {
        let mut column = 0;
        while column + 3 <= self.columns.len() {
            self.tile::<S, O, 3>(simd, output, column);
            column += 3;
        }
        while column < self.columns.len() {
            self.tile::<S, O, 1>(simd, output, column);
            column += 1;
        }
    }

    /// The weights of `O` outputs and `C` columns.
    #[inline(always)]
    fn tile<S: Simd, const O: usize, const C: usize>(
        &mut self,
        simd: S,
        output: usize,
        column: usize,
    ) {
        let length = self.positions.div_ceil(S::F32_LANES) * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); C]; O];
        let inputs = self.input.chunks_exact(self.input_image);
        let upstreams = self.upstream.chunks_exact(self.outputs * self.line);
        for (input, upstream) in inputs.zip(upstreams) {
            let columns: [&[f32]; C] =
                std::array::from_fn(|i| &input[self.columns[column + i]..][..length]);
            let upstream: [&[f32]; O] =
                std::array::from_fn(|i| &upstream[(output + i) * self.line..][..length]);
            for position in (0..length).step_by(S::F32_LANES) {
                let values: [[S::f32s; 1]; C] =
                    std::array::from_fn(|i| load::<S, 1>(&columns[i][position..]));
                for (sums, upstream) in sums.iter_mut().zip(&upstream) {
                    let [upstream] = load::<S, 1>(&upstream[position..]);
                    for (sum, &[value]) in sums.iter_mut().zip(&values) {
                        *sum = simd.mul_add_e_f32s(value, upstream, *sum);
                    }
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let row = &mut self.gradient[(output + i) * self.columns.len() + column..][..C];
            for (value, sum) in row.iter_mut().zip(sums) {
                *value += simd.reduce_sum_f32s(sum);
            }
        }
    }
}
