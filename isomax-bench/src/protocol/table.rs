//! Means over near and far sets.

use isomax_burn::Moments;
use isomax_charts::Table;
use serde::Serialize;

use super::{FoundSet, ProtocolImages, Role, Status};
use crate::results::{Detection, Evaluation};

/// Which standard deviation is shown of several runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spread {
    /// Of a sample, with the divisor `n - 1`.
    #[default]
    Sample,
    /// Of all there is, with the divisor `n`, as the tables of OpenOOD have it.
    Population,
}

/// A score or method with its means over sets, of each run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProtocolRow {
    /// The score or method.
    pub method: String,
    /// AUROC and FPR95 over near sets, in `[0, 1]`, of each run; none without such sets.
    pub near: Vec<[f64; 2]>,
    /// The same over far sets.
    pub far: Vec<[f64; 2]>,
    /// Of each set by its name; behind those that count, stand-ins, which are marked.
    pub sets: Vec<(String, Vec<[f64; 2]>)>,
}

/// Means of each score and method over the sets of a protocol that are exact or of the same distribution. Runs count
/// where all sets have a value.
pub fn rows(images: &ProtocolImages, evaluations: &[Evaluation]) -> Vec<ProtocolRow> {
    let mut methods: Vec<String> = Vec::new();
    for detection in evaluations.iter().flat_map(|evaluation| &evaluation.detection) {
        if !methods.contains(&detection.label()) {
            methods.push(detection.label());
        }
    }
    let counting = |role| {
        let counts = |found: &&FoundSet| found.set.role == role && found.status != Status::StandIn;
        images
            .found
            .iter()
            .filter(counts)
            .map(|found| found.set.name.clone())
            .collect::<Vec<String>>()
    };
    let (near, far) = (counting(Role::Near), counting(Role::Far));
    let row = |method: String| {
        let value = |evaluation: &Evaluation, set: &String| {
            let is_it = |d: &&Detection| d.set == *set && d.label() == method;
            let field = evaluation.detection.iter().find(is_it).map(|d| d.field);
            field.map(|field| [field.auroc, field.fpr_at_95_tpr])
        };
        let mean = |sets: &[String]| -> Vec<[f64; 2]> {
            evaluations.iter().filter_map(|run| mean_of(sets, |set| value(run, set))).collect()
        };
        let stand_ins = images.found.iter().filter(|found| found.status == Status::StandIn);
        let stand_ins = stand_ins.map(|found| (&found.set.name, " (stand-in)"));
        let sets =
            near.iter().chain(&far).map(|set| (set, "")).chain(stand_ins).map(|(set, mark)| {
                let values = evaluations.iter().filter_map(|run| value(run, set)).collect();
                (format!("{set}{mark}"), values)
            });
        ProtocolRow {
            near: mean(&near),
            far: mean(&far),
            sets: sets.collect(),
            method: method.clone(),
        }
    };
    methods.into_iter().map(row).collect()
}

/// The mean over sets, if there are any and all have a value.
fn mean_of(sets: &[String], value: impl Fn(&String) -> Option<[f64; 2]>) -> Option<[f64; 2]> {
    let values: Vec<[f64; 2]> = sets.iter().map(value).collect::<Option<_>>()?;
    let mean = |at: usize| values.iter().map(|value| value[at]).collect::<Moments>().mean();
    Some([mean(0)?, mean(1)?])
}

/// The rows as text, below what sets they are over.
pub fn table(
    title: &str,
    images: &ProtocolImages,
    evaluations: &[Evaluation],
    spread: Spread,
) -> String {
    let mut sets = Table::new(["set", "role", "images", "of the protocol", "status"]);
    for found in &images.found {
        sets.row(vec![
            found.set.name.clone(),
            format!("{:?}", found.set.role).to_lowercase(),
            found.images.images.len().to_string(),
            found.set.images.to_string(),
            found.status.to_string(),
        ]);
    }
    let rows = rows(images, evaluations);
    let names = rows.first().map(|row| row.sets.iter().map(|(name, _)| name.clone()).collect());
    let names: Vec<String> = names.unwrap_or_default();
    let columns = ["method", "near", "far"].into_iter().chain(names.iter().map(String::as_str));
    let mut means = Table::new(columns);
    for row in rows {
        let of_sets = row.sets.iter().map(|(_, values)| cell(values, spread));
        let first = [row.method, cell(&row.near, spread), cell(&row.far, spread)];
        means.row(first.into_iter().chain(of_sets));
    }
    let accuracy: Vec<[f64; 2]> =
        evaluations.iter().map(|run| [run.classification.accuracy; 2]).collect();
    let accuracy = cell(&accuracy, spread);
    let accuracy = accuracy.split(" / ").next().unwrap_or_default();
    let runs = evaluations.len();
    let s = if runs == 1 { "" } else { "s" };
    let missing = match images.missing.is_empty() {
        true => String::new(),
        false => format!("\nnot at hand:\n- {}\n", images.missing.join("\n- ")),
    };
    format!(
        "{title}, {runs} run{s}, accuracy {accuracy} %\n\n{sets}{missing}\nAUROC / FPR95 in percent, OOD positive; \
         near and far are means over sets that are exact or of the same distribution\n\n{means}"
    )
}

fn cell(values: &[[f64; 2]], spread: Spread) -> String {
    let of = |at: usize| -> Option<String> {
        let moments: Moments = values.iter().map(|value| 100.0 * value[at]).collect();
        let count = values.len() as f64;
        let std = moments.std().map(|std| match spread {
            Spread::Sample => std,
            Spread::Population => std * ((count - 1.0) / count).sqrt(),
        });
        let std = std.map(|std| format!(" ± {std:.2}")).unwrap_or_default();
        Some(format!("{:.2}{std}", moments.mean()?))
    };
    match (of(0), of(1)) {
        (Some(auroc), Some(fpr)) => format!("{auroc} / {fpr}"),
        _ => "–".to_owned(),
    }
}
