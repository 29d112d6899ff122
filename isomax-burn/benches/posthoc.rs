//! Cost of post-hoc methods: one pass over features in a file, fits, scores and peak memory.
//!
//! ```text
//! python isomax-models/pytorch/posthoc_cost.py --samples 50000 --features 512 --classes 10
//! ```
//!
//! runs this beside pytorch-ood, each method in a process of its own. By itself it takes the folder that this wrote:
//!
//! ```text
//! cargo bench -p isomax-burn --bench posthoc -- FOLDER NUM_FEATURES NUM_CLASSES METHOD[,METHOD...]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Instant;

use burn::backend::Flex;
use burn::module::Param;
use burn::tensor::{Int, Tensor, TensorData};
use isomax_burn::posthoc::{BankConfig, FeatureStatistics, Method, Needs};
use isomax_burn::{SoftMaxHead, SoftMaxHeadConfig};

#[global_allocator]
static PEAK: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

const BATCH: usize = 256;

type Batch = (Tensor<Flex, 2>, Tensor<Flex, 1, Int>);

/// Gives the rows of a folder batch by batch, as a pass of a network would.
fn batches(
    folder: &Path,
    set: &str,
    width: usize,
    mut take: impl FnMut(Batch) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let open = |what: &str| File::open(folder.join(format!("{set}.{what}"))).map(BufReader::new);
    let (mut rows, mut labels) = (open("f32")?, open("i32")?);
    let device = Default::default();
    loop {
        let mut bytes = Vec::new();
        rows.by_ref().take((BATCH * width * 4) as u64).read_to_end(&mut bytes)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let count = values.len() / width;
        if count == 0 {
            return Ok(());
        }
        let mut bytes = vec![0; count * 4];
        labels.read_exact(&mut bytes)?;
        let classes: Vec<i32> =
            bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        let rows = Tensor::from_data(TensorData::new(values, [count, width]), &device);
        take((rows, Tensor::from_data(TensorData::new(classes, [count]), &device)))?;
    }
}

fn head(folder: &Path, width: usize, classes: usize) -> Result<SoftMaxHead<Flex>, Box<dyn Error>> {
    let bytes = std::fs::read(folder.join("weights.f32"))?;
    let weights: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let device = Default::default();
    let mut head = SoftMaxHeadConfig::new(width, classes).init::<Flex>(&device);
    let weights = TensorData::new(weights, [classes, width]);
    head.weights = Param::from_tensor(Tensor::from_data(weights, &device));
    Ok(head)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [folder, width, classes, methods] = &arguments[..] else {
        println!("expected FOLDER NUM_FEATURES NUM_CLASSES METHOD[,METHOD...]: nothing measured");
        return Ok(());
    };
    let (folder, width, classes) = (Path::new(folder), width.parse()?, classes.parse()?);
    let methods: Vec<Method> = methods.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let head = head(folder, width, classes)?;

    let start = Instant::now();
    batches(folder, "train", width, |_| Ok(()))?;
    let reading = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut statistics =
        FeatureStatistics::new(Needs::of(&methods), width, classes, BankConfig::all());
    batches(folder, "train", width, |(rows, labels)| {
        Ok(statistics.update(rows.clone(), head.forward(rows), labels)?)
    })?;
    let pass = start.elapsed().as_secs_f64();
    let collected = PEAK.peak_usage_as_mb();
    let fitted: Vec<_> =
        methods.iter().map(|method| statistics.fit(method, &head)).collect::<Result<_, _>>()?;
    let fit = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut sum = 0.0;
    batches(folder, "queries", width, |(rows, _)| {
        for method in &fitted {
            sum += method.score(rows.clone(), &head).into_data().iter::<f64>().sum::<f64>();
        }
        Ok(())
    })?;
    let score = start.elapsed().as_secs_f64();
    let peak = PEAK.peak_usage_as_mb();
    println!(
        "{{\"reading\": {reading}, \"pass\": {pass}, \"fit\": {fit}, \"score\": {score}, \"collected\": {collected}, \"peak\": {peak}, \"sum\": {sum}}}"
    );
    Ok(())
}
