//! Temporary.
use burn::backend::Flex;
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use std::hint::black_box;
use std::time::Instant;
type B = Flex;
fn time<T>(name: &str, mut f: impl FnMut() -> T) {
    for _ in 0..2 {
        black_box(f());
    }
    let mut v: Vec<f64> = (0..7)
        .map(|_| {
            let s = Instant::now();
            black_box(f());
            s.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    v.sort_by(f64::total_cmp);
    println!("  {name:32} {:8.2} ms", v[3]);
}
fn pad(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [n, c, h, w] = x.dims();
    let zeros = Tensor::<B, 4>::zeros([n, c, h + 2, w + 2], &x.device());
    zeros.slice_assign([0..n, 0..c, 1..h + 1, 1..w + 1], x)
}
fn main() {
    let d = Default::default();
    for (n, c, o, h) in [
        (64, 64, 64, 32),
        (64, 128, 128, 16),
        (64, 256, 256, 8),
        (64, 512, 512, 4),
        (16, 160, 160, 32),
    ] {
        println!("[{n}, {c}→{o}, {h}, {h}]");
        let x = Tensor::<B, 4>::random([n, c, h, h], Distribution::Default, &d);
        let w = Tensor::<B, 4>::random([o, c, 3, 3], Distribution::Default, &d);
        let g = Tensor::<B, 4>::random([n, o, h, h], Distribution::Default, &d);
        let opt = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        time("forward", || conv2d(x.clone(), w.clone(), None, opt()));
        time("dx stock", || {
            burn::tensor::module::conv_transpose2d(
                g.clone(),
                w.clone(),
                None,
                burn::tensor::ops::ConvTransposeOptions::new([1, 1], [1, 1], [0, 0], [1, 1], 1),
            )
        });
        time("dx conv flipped", || {
            conv2d(g.clone(), w.clone().flip([2, 3]).swap_dims(0, 1), None, opt())
        });
        time("dw stock", || {
            conv2d(x.clone().swap_dims(0, 1), g.clone().swap_dims(0, 1), None, opt())
        });
        time("pad", || pad(x.clone()));
        let gm = g.clone().reshape([n, o, h * h]);
        time("dw nine lines", || {
            let l = (h + 2) * (h + 2);
            let p = pad(x.clone()).reshape([n, c, l]);
            let q = pad(g.clone()).reshape([n, o, l]);
            let m = h + 3;
            let q = q.slice([0..n, 0..o, m..l - m]);
            let mut out = vec![];
            for i in 0..3 {
                for j in 0..3 {
                    let off = i * (h + 2) + j;
                    out.push(
                        q.clone()
                            .matmul(
                                p.clone().slice([0..n, 0..c, off..off + l - 2 * m]).swap_dims(1, 2),
                            )
                            .sum_dim(0),
                    );
                }
            }
            Tensor::cat(out, 0)
        });
        time("dw long rows", || {
            let p = pad(x.clone()).swap_dims(0, 1).reshape([c, n * (h + 2) * (h + 2)]);
            let q = pad(g.clone()).swap_dims(0, 1).reshape([o, n * (h + 2) * (h + 2)]);
            let len = n * (h + 2) * (h + 2);
            let m = h + 3;
            let q = q.slice([0..o, m..len - m]);
            let mut out = vec![];
            for i in 0..3 {
                for j in 0..3 {
                    let off = i * (h + 2) + j;
                    out.push(
                        q.clone()
                            .matmul(p.clone().slice([0..c, off..off + len - 2 * m]).transpose()),
                    );
                }
            }
            Tensor::cat(out, 0)
        });
        time("relu", || burn::tensor::activation::relu(x.clone()));
    }
}
