//! Files for other programs: the three CSV files of the published code, a summary as JSON and the
//! tables as Markdown.
//!
//! The CSV files have the columns of the published code, and after them `EXPERIMENT`, the label that the
//! tables have: the same network and head may be there with other recipes. `results_raw.csv` and
//! `results_best.csv` lack `ODD_ACC`, which the published code names and never computes. Values that
//! an epoch does not have are left out of the former and empty in the latter. `results_odd.csv` has
//! all scores, not the default one alone: filter by `SCORE`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{experiments, summary, tables};
use crate::measures::PAPERS;
use crate::results::{ResultError, Run, write_bytes, write_json};

/// Every epoch of every run, one value a row.
pub const RAW: &str = "results_raw.csv";
/// The chosen epoch of every run.
pub const BEST: &str = "results_best.csv";
/// Detection, in the papers' convention and in percent.
pub const ODD: &str = "results_odd.csv";
/// The [`Summary`](super::Summary).
pub const SUMMARY: &str = "results.json";
/// All tables.
pub const TABLES: &str = "results.md";

/// Metrics of an epoch: the published name and the key in a
/// [`History`](crate::results::History).
pub(super) const METRICS: &[(&str, &str)] = &[
    ("LOSS", "loss"),
    ("ACC1", "accuracy"),
    ("INTRA_LOGITS MEAN", "intra_logits_mean"),
    ("INTRA_LOGITS STD", "intra_logits_std"),
    ("INTER_LOGITS MEAN", "inter_logits_mean"),
    ("INTER_LOGITS STD", "inter_logits_std"),
    ("MAX_PROBS MEAN", "max_probs_mean"),
    ("MAX_PROBS STD", "max_probs_std"),
    ("ENTROPIES MEAN", "entropies_mean"),
    ("ENTROPIES STD", "entropies_std"),
];

type Writer = csv::Writer<Vec<u8>>;
/// The runs, each with the label of its experiment.
type Labelled<'a> = [(&'a Run, String)];
type Fill = fn(&mut Writer, &Labelled<'_>) -> csv::Result<()>;

/// Writes all files into a folder, which is made if need be, and returns their paths. Each file
/// appears whole or not at all.
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write(folder: &Path, runs: &[Run]) -> Result<Vec<PathBuf>, ResultError> {
    fs::create_dir_all(folder)
        .map_err(|source| ResultError::Io { path: folder.to_owned(), source })?;
    let files: [(&str, Fill); 3] = [(RAW, raw), (BEST, best), (ODD, detection)];
    let experiments = experiments(runs);
    let labelled: Vec<(&Run, String)> = (experiments.iter())
        .flat_map(|experiment| {
            experiment.runs().iter().map(|&e| (e, experiment.label().to_owned()))
        })
        .collect();
    for (name, fill) in files {
        let path = folder.join(name);
        let bytes = to_bytes(fill, &labelled)
            .map_err(|source| ResultError::Io { path: path.clone(), source })?;
        write_bytes(path, &bytes)?;
    }
    write_json(folder.join(SUMMARY), &summary(runs))?;
    let tables: Vec<String> = tables(runs).iter().map(ToString::to_string).collect();
    write_bytes(folder.join(TABLES), tables.join("\n").as_bytes())?;
    Ok([RAW, BEST, ODD, SUMMARY, TABLES].map(|name| folder.join(name)).to_vec())
}

fn to_bytes(fill: Fill, runs: &Labelled<'_>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    fill(&mut writer, runs)?;
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Published names of a run.
struct Names {
    data: String,
    model: String,
    loss: String,
    run: String,
}

impl Names {
    fn of(run: &Run) -> Self {
        let evaluation = &run.evaluation;
        let fpr = if evaluation.fpr { "_fpr" } else { "" };
        Self {
            data: evaluation.id_data.clone(),
            model: evaluation.architecture.to_string(),
            loss: format!("{}{fpr}", evaluation.head),
            run: run.number.to_string(),
        }
    }
}

fn raw(writer: &mut Writer, runs: &Labelled<'_>) -> csv::Result<()> {
    let header =
        ["DATA", "MODEL", "LOSS", "EXECUTION", "EPOCH", "SET", "METRIC", "VALUE", "EXPERIMENT"];
    writer.write_record(header)?;
    for (run, experiment) in runs {
        let Names { data, model, loss, run: number } = Names::of(run);
        for epoch in run.history.iter().flat_map(|history| &history.epochs) {
            let at = epoch.epoch.to_string();
            for (set, values) in [("TRAIN", &epoch.train), ("VALID", &epoch.valid)] {
                for &(metric, key) in METRICS {
                    let Some(value) = values.get(key) else { continue };
                    let value = value.to_string();
                    let record: [&str; 9] =
                        [&data, &model, &loss, &number, &at, set, metric, &value, experiment];
                    writer.write_record(record)?;
                }
            }
        }
    }
    Ok(())
}

fn best(writer: &mut Writer, runs: &Labelled<'_>) -> csv::Result<()> {
    let mut header = ["DATA", "MODEL", "LOSS", "EXECUTION", "EPOCH"].map(str::to_owned).to_vec();
    for set in ["TRAIN", "VALID"] {
        header.extend(METRICS.iter().map(|(metric, _)| format!("{set} {metric}")));
    }
    header.push("EXPERIMENT".to_owned());
    writer.write_record(&header)?;
    for (run, experiment) in runs {
        let training = run.evaluation.training.as_ref();
        let Some((history, training)) = run.history.as_ref().zip(training) else { continue };
        let chosen = history.epochs.iter().find(|epoch| epoch.epoch == training.chosen_epoch);
        let Some(epoch) = chosen else { continue };
        let Names { data, model, loss, run: number } = Names::of(run);
        let mut record = vec![data, model, loss, number, epoch.epoch.to_string()];
        let text = |values: &BTreeMap<String, f64>, key: &str| {
            values.get(key).map_or_else(String::new, |value| value.to_string())
        };
        for values in [&epoch.train, &epoch.valid] {
            record.extend(METRICS.iter().map(|&(_, key)| text(values, key)));
        }
        record.push(experiment.clone());
        writer.write_record(&record)?;
    }
    Ok(())
}

fn detection(writer: &mut Writer, runs: &Labelled<'_>) -> csv::Result<()> {
    let header = "EXECUTION,MODEL,IN-DATA,OUT-DATA,LOSS,AD-HOC,SCORE,INFER-LEARN,INFER-TRANS,\
                  TNR,AUROC,DTACC,AUIN,AUOUT,CPU_FALSE,CPU_TRUE,GPU_FALSE,GPU_TRUE,\
                  TEMPERATURE,MAGNITUDE,EXPERIMENT";
    writer.write_record(header.split(','))?;
    for (run, experiment) in runs {
        let Names { data, model, loss, run: number } = Names::of(run);
        let temperature = run.evaluation.temperature.to_string();
        for detection in &run.evaluation.detection {
            let (set, score) = (&detection.set, detection.score.as_str());
            let names: [&str; 9] =
                [&number, &model, &data, set, &loss, "NATIVE", score, "NO", "False"];
            let percents = PAPERS.map(|measure| format!("{:.2}", 100.0 * (measure.of)(detection)));
            let record = names.into_iter().chain(percents.iter().map(String::as_str));
            // Four times that nobody takes, and the magnitude of a perturbation that is not made.
            let record =
                record.chain(["0"; 4]).chain([temperature.as_str(), "0", experiment.as_str()]);
            writer.write_record(record)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use isomax_burn::HeadKind;

    use super::super::Summary;
    use super::super::tests::run;
    use super::*;

    type Parsed = (Vec<String>, Vec<Vec<String>>);

    fn parse(path: &Path) -> Result<Parsed, Box<dyn Error>> {
        let fields = |record: &csv::StringRecord| -> Vec<String> {
            record.iter().map(str::to_owned).collect()
        };
        let mut reader = csv::Reader::from_path(path)?;
        let header = fields(reader.headers()?);
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(fields(&record?));
        }
        Ok((header, rows))
    }

    #[test]
    fn files_parse_back() -> Result<(), Box<dyn Error>> {
        let temporary = tempfile::tempdir()?;
        let folder = temporary.path().join("new");
        let awkward = "noise, \"so-called\"";
        let mut runs = [
            run(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), (awkward, 1)]),
            run(HeadKind::IsoMaxPlus, 2, &[("svhn", 1), (awkward, 1)]),
        ];
        runs[1].evaluation.fpr = true;
        runs[1].evaluation.temperature = 1.25;
        let written = write(&folder, &runs)?;
        assert_eq!(written, [RAW, BEST, ODD, SUMMARY, TABLES].map(|name| folder.join(name)));
        assert_eq!(fs::read_dir(&folder)?.count(), 5);

        let (header, rows) = parse(&written[0])?;
        assert_eq!(header.join(","), "DATA,MODEL,LOSS,EXECUTION,EPOCH,SET,METRIC,VALUE,EXPERIMENT");
        assert_eq!(rows.len(), 2 * 2 * 2 * METRICS.len());
        assert_eq!(
            rows[1].join(","),
            "cifar10,densenet-bc-100,isomax+,1,1,TRAIN,ACC1,1.01,cifar10 densenet-bc-100 isomax+"
        );
        let last = rows.last().ok_or("no rows")?.join(",");
        let expected = "cifar10,densenet-bc-100,isomax+_fpr,2,2,VALID,ENTROPIES STD,-2.09,\
                        cifar10 densenet-bc-100 isomax+ with FPR";
        assert_eq!(last, expected);

        let (header, rows) = parse(&written[1])?;
        assert_eq!((header.len(), rows.len()), (6 + 2 * METRICS.len(), 2));
        let start = "DATA,MODEL,LOSS,EXECUTION,EPOCH,TRAIN LOSS,TRAIN ACC1,TRAIN INTRA_LOGITS MEAN";
        assert_eq!(header[..8].join(","), start);
        assert_eq!(header[15..17].join(","), "VALID LOSS,VALID ACC1");
        assert_eq!(rows[0][..7].join(","), "cifar10,densenet-bc-100,isomax+,1,2,2,2.01");
        assert_eq!(rows[0][15..17].join(","), "-2,-2.01");

        let (header, rows) = parse(&written[2])?;
        // Two runs, sets and scores.
        assert_eq!((header.len(), rows.len()), (21, 8));
        let names = "1,densenet-bc-100,cifar10,svhn,isomax+,NATIVE,MDS,NO,False";
        assert_eq!(rows[0][..9].join(","), names);
        assert_eq!(rows[0][9..12], ["100.00", "100.00", "100.00"]);
        assert_eq!(rows[0][14..20], ["0", "0", "0", "0", "1", "0"]);
        assert_eq!(rows[0][20], "cifar10 densenet-bc-100 isomax+");
        assert_eq!((rows[2][3].as_str(), rows[2][9].as_str()), (awkward, "75.00"));
        assert_eq!((rows[4][4].as_str(), rows[4][18].as_str()), ("isomax+_fpr", "1.25"));

        assert_eq!(
            serde_json::from_slice::<Summary>(&std::fs::read(&written[3])?)?,
            summary(&runs)
        );
        let markdown = fs::read_to_string(&written[4])?;
        assert_eq!(markdown.matches("\n## ").count() + 1, tables(&runs).len());
        Ok(())
    }

    #[test]
    fn missing_histories_and_values_are_left_out() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let mut runs = [1, 2, 3].map(|number| run(HeadKind::SoftMax, number, &[]));
        runs[0].history = None;
        runs[1].evaluation.training = None;
        let epochs = &mut runs[2].history.as_mut().ok_or("no history")?.epochs;
        for epoch in epochs.iter_mut() {
            epoch.train.remove("loss");
        }
        let written = write(folder.path(), &runs)?;

        assert_eq!(parse(&written[0])?.1.len(), 2 * 2 * METRICS.len() * 2 - 2);
        let (_, best) = parse(&written[1])?;
        assert_eq!(best.len(), 1);
        assert_eq!(best[0][3..7], ["3", "2", "", "2.01"]);
        assert!(parse(&written[2])?.1.is_empty());

        write(folder.path(), &[])?;
        assert!(parse(&written[1])?.1.is_empty());
        assert_eq!(fs::read_to_string(&written[4])?, "");
        Ok(())
    }
}
