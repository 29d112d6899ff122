//! Files for other programs: the three CSV files of the published code, a summary as JSON and the
//! tables as Markdown.
//!
//! The CSV files have the columns of the published code, and after them `CELL`, the label that the
//! tables have: the same network and head may be there with other recipes. `results_raw.csv` and
//! `results_best.csv` lack `ODD_ACC`, which the published code names and never computes. Values that
//! an epoch does not have are left out of the former and empty in the latter. `results_odd.csv` has
//! all scores, not the default one alone: filter by `SCORE`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{cells, summary, tables};
use crate::measures::PAPERS;
use crate::results::{Execution, ResultError, write_bytes, write_json};

/// Every epoch of every execution, one value a row.
pub const RAW: &str = "results_raw.csv";
/// The chosen epoch of every execution.
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
/// The executions, each with the label of its cell.
type Labelled<'a> = [(&'a Execution, String)];
type Fill = fn(&mut Writer, &Labelled<'_>) -> csv::Result<()>;

/// Writes all files into a folder, which is made if need be, and returns their paths. Each file
/// appears whole or not at all.
///
/// # Errors
///
/// [`ResultError::Io`].
pub fn write(folder: &Path, executions: &[Execution]) -> Result<Vec<PathBuf>, ResultError> {
    fs::create_dir_all(folder)
        .map_err(|source| ResultError::Io { path: folder.to_owned(), source })?;
    let files: [(&str, Fill); 3] = [(RAW, raw), (BEST, best), (ODD, odd)];
    let cells = cells(executions);
    let labelled: Vec<(&Execution, String)> = (cells.iter())
        .flat_map(|cell| cell.executions().iter().map(|&e| (e, cell.label().to_owned())))
        .collect();
    for (name, fill) in files {
        let path = folder.join(name);
        let bytes = to_bytes(fill, &labelled)
            .map_err(|source| ResultError::Io { path: path.clone(), source })?;
        write_bytes(path, &bytes)?;
    }
    write_json(folder.join(SUMMARY), &summary(executions))?;
    let tables: Vec<String> = tables(executions).iter().map(ToString::to_string).collect();
    write_bytes(folder.join(TABLES), tables.join("\n").as_bytes())?;
    Ok([RAW, BEST, ODD, SUMMARY, TABLES].map(|name| folder.join(name)).to_vec())
}

fn to_bytes(fill: Fill, executions: &Labelled<'_>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    fill(&mut writer, executions)?;
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Published names of an execution.
struct Names {
    data: String,
    model: String,
    loss: String,
    execution: String,
}

impl Names {
    fn of(execution: &Execution) -> Self {
        let evaluation = &execution.evaluation;
        let fpr = if evaluation.fpr { "_fpr" } else { "" };
        Self {
            data: evaluation.known.clone(),
            model: evaluation.architecture.to_string(),
            loss: format!("{}{fpr}", evaluation.head),
            execution: execution.number.to_string(),
        }
    }
}

fn raw(writer: &mut Writer, executions: &Labelled<'_>) -> csv::Result<()> {
    let header = ["DATA", "MODEL", "LOSS", "EXECUTION", "EPOCH", "SET", "METRIC", "VALUE", "CELL"];
    writer.write_record(header)?;
    for (execution, cell) in executions {
        let Names { data, model, loss, execution: number } = Names::of(execution);
        for epoch in execution.history.iter().flat_map(|history| &history.epochs) {
            let at = epoch.epoch.to_string();
            for (set, values) in [("TRAIN", &epoch.train), ("VALID", &epoch.valid)] {
                for &(metric, key) in METRICS {
                    let Some(value) = values.get(key) else { continue };
                    let value = value.to_string();
                    let record: [&str; 9] =
                        [&data, &model, &loss, &number, &at, set, metric, &value, cell];
                    writer.write_record(record)?;
                }
            }
        }
    }
    Ok(())
}

fn best(writer: &mut Writer, executions: &Labelled<'_>) -> csv::Result<()> {
    let mut header = ["DATA", "MODEL", "LOSS", "EXECUTION", "EPOCH"].map(str::to_owned).to_vec();
    for set in ["TRAIN", "VALID"] {
        header.extend(METRICS.iter().map(|(metric, _)| format!("{set} {metric}")));
    }
    header.push("CELL".to_owned());
    writer.write_record(&header)?;
    for (execution, cell) in executions {
        let training = execution.evaluation.training.as_ref();
        let Some((history, training)) = execution.history.as_ref().zip(training) else { continue };
        let chosen = history.epochs.iter().find(|epoch| epoch.epoch == training.chosen_epoch);
        let Some(epoch) = chosen else { continue };
        let Names { data, model, loss, execution } = Names::of(execution);
        let mut record = vec![data, model, loss, execution, epoch.epoch.to_string()];
        let text = |values: &BTreeMap<String, f64>, key: &str| {
            values.get(key).map_or_else(String::new, |value| value.to_string())
        };
        for values in [&epoch.train, &epoch.valid] {
            record.extend(METRICS.iter().map(|&(_, key)| text(values, key)));
        }
        record.push(cell.clone());
        writer.write_record(&record)?;
    }
    Ok(())
}

fn odd(writer: &mut Writer, executions: &Labelled<'_>) -> csv::Result<()> {
    let header = "EXECUTION,MODEL,IN-DATA,OUT-DATA,LOSS,AD-HOC,SCORE,INFER-LEARN,INFER-TRANS,\
                  TNR,AUROC,DTACC,AUIN,AUOUT,CPU_FALSE,CPU_TRUE,GPU_FALSE,GPU_TRUE,\
                  TEMPERATURE,MAGNITUDE,CELL";
    writer.write_record(header.split(','))?;
    for (execution, cell) in executions {
        let Names { data, model, loss, execution: number } = Names::of(execution);
        let temperature = execution.evaluation.temperature.to_string();
        for detection in &execution.evaluation.detection {
            let (set, score) = (&detection.set, detection.score.as_str());
            let names: [&str; 9] =
                [&number, &model, &data, set, &loss, "NATIVE", score, "NO", "False"];
            let percents = PAPERS.map(|measure| format!("{:.2}", 100.0 * (measure.of)(detection)));
            let record = names.into_iter().chain(percents.iter().map(String::as_str));
            // Four times that nobody takes, and the magnitude of a perturbation that is not made.
            let record = record.chain(["0"; 4]).chain([temperature.as_str(), "0", cell.as_str()]);
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
    use super::super::tests::execution;
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
        let mut executions = [
            execution(HeadKind::IsoMaxPlus, 1, &[("svhn", 0), (awkward, 1)]),
            execution(HeadKind::IsoMaxPlus, 2, &[("svhn", 1), (awkward, 1)]),
        ];
        executions[1].evaluation.fpr = true;
        executions[1].evaluation.temperature = 1.25;
        let written = write(&folder, &executions)?;
        assert_eq!(written, [RAW, BEST, ODD, SUMMARY, TABLES].map(|name| folder.join(name)));
        assert_eq!(fs::read_dir(&folder)?.count(), 5);

        let (header, rows) = parse(&written[0])?;
        assert_eq!(header.join(","), "DATA,MODEL,LOSS,EXECUTION,EPOCH,SET,METRIC,VALUE,CELL");
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
        // Two executions, sets and scores.
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
            summary(&executions)
        );
        let markdown = fs::read_to_string(&written[4])?;
        assert_eq!(markdown.matches("\n## ").count() + 1, tables(&executions).len());
        Ok(())
    }

    #[test]
    fn missing_histories_and_values_are_left_out() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let mut executions = [1, 2, 3].map(|number| execution(HeadKind::SoftMax, number, &[]));
        executions[0].history = None;
        executions[1].evaluation.training = None;
        let epochs = &mut executions[2].history.as_mut().ok_or("no history")?.epochs;
        for epoch in epochs.iter_mut() {
            epoch.train.remove("loss");
        }
        let written = write(folder.path(), &executions)?;

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
