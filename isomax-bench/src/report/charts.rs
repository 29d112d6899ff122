//! The figures of one experiment: training curves, scores, ROC curves, calibration and pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use isomax_burn::Score;
use isomax_burn::metrics::{CalibrationMetrics, Positive, ReliabilityBin, RocCurve};

use super::html;
use super::{Experiment, ReportError};
use crate::measures::{PAPERS_AUROC, PAPERS_TNR};
use crate::results::{Epoch, Evaluation, HISTORY, History, ID, Run, SCORES, WORST};
use crate::scores;
use isomax_charts::{Axis, Chart, Style, finite_range, shares};

/// More points of a curve than this are not seen.
const MOST_POINTS: usize = 400;
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The measures of every epoch.
pub(super) fn training(experiment: &Experiment<'_>) -> String {
    let recorded =
        |run: &&&Run| run.history.as_ref().is_some_and(|history| !history.epochs.is_empty());
    let runs: Vec<&Run> = experiment.runs().iter().filter(recorded).copied().collect();
    let histories: Vec<&History> = runs.iter().filter_map(|e| e.history.as_ref()).collect();
    let (Some(first), Some(history)) = (runs.first(), histories.first()) else {
        return html::note(&format!("There is no {HISTORY}, hence no training curves."));
    };
    let lines = match histories.len() {
        1 => format!("run {}", first.number),
        count => format!("{count} runs, one line each"),
    };
    let valid = valid_images(&first.evaluation);
    let mut content = both_splits(&histories, "loss", "Loss", valid, &lines);
    content.push_str(&both_splits(&histories, "accuracy", "Accuracy (%)", valid, &lines));
    content.push_str(&watched(&histories, &first.evaluation, &lines));
    content.push_str(&logits(first, history));
    html::figures(&content)
}

/// What the network was validated on.
fn valid_images(evaluation: &Evaluation) -> &'static str {
    match &evaluation.training {
        Some(training) if training.is_validated_on_test() => "test images",
        _ => "validation images",
    }
}

/// A measure of the training and of the validation images.
fn both_splits(
    histories: &[&History],
    key: &str,
    label: &str,
    valid_images: &str,
    lines: &str,
) -> String {
    let mut chart = over_epochs(format!("{label} over epochs"), label);
    let (train, valid) = (Style::series(1).dashed().thin(), Style::series(0).thin());
    for history in histories {
        chart.line(train, curve(history, |epoch| epoch.train.get(key).copied()));
        chart.line(valid, curve(history, |epoch| epoch.valid.get(key).copied()));
    }
    chart.key("training images", train);
    chart.key(valid_images, valid);
    let caption = format!(
        "{label}: of training images while the network changed, of {valid_images} after each epoch; \
         {lines}."
    );
    figure_unless_empty(&chart, &caption, &format!("No epoch has a value of '{key}'."))
}

/// The AUROC of the OOD sets that were watched in training.
fn watched(histories: &[&History], evaluation: &Evaluation, lines: &str) -> String {
    let keys = histories.iter().flat_map(|h| &h.epochs).flat_map(|epoch| epoch.valid.keys());
    let names: BTreeSet<&str> = keys.filter_map(|key| key.strip_suffix(" AUROC")).collect();
    if names.is_empty() {
        return html::note("No OOD set was watched in training.");
    }
    let mut sets = set_names(evaluation);
    names.iter().for_each(|&name| push_new(&mut sets, name));
    let mut chart = over_epochs("AUROC of OOD sets over epochs".to_owned(), "AUROC (%)");
    for name in names {
        let (style, key) = (style_of(&sets, name).thin(), format!("{name} AUROC"));
        for history in histories {
            chart.line(style, curve(history, |epoch| epoch.valid.get(&key).copied()));
        }
        chart.key(name, style);
    }
    let valid_images = valid_images(evaluation);
    let caption = format!("AUROC of OOD sets against the {valid_images}; {lines}.");
    figure_unless_empty(&chart, &caption, "No epoch has an AUROC.")
}

/// How far the logits of the own class stand from the others.
fn logits(run: &Run, history: &History) -> String {
    fn values(epoch: &Epoch, valid: bool) -> &BTreeMap<String, f64> {
        if valid { &epoch.valid } else { &epoch.train }
    }
    let valid = history.epochs.iter().any(|e| e.valid.contains_key("intra_logits_mean"));
    let value = |epoch: &Epoch, key: &str| values(epoch, valid).get(key).copied();
    let mut chart = over_epochs("Logits of own and other classes over epochs".to_owned(), "logit");
    for (index, kind, label) in [(0, "intra", "own class"), (1, "inter", "other classes")] {
        let (mean, std) = (format!("{kind}_logits_mean"), format!("{kind}_logits_std"));
        let style = Style::series(index);
        let band = history.epochs.iter().filter_map(|epoch| {
            let (mean, std) = (value(epoch, &mean)?, value(epoch, &std)?);
            Some([epoch.epoch as f64, mean - std, mean + std])
        });
        chart.band(style, thin(band.collect()));
        chart.line(style, curve(history, |epoch| value(epoch, &mean)));
        chart.key(label, style);
    }
    if let Some(training) = &run.evaluation.training {
        chart.upright(Style::guide(), training.chosen_epoch as f64);
        chart.key("epoch whose weights were kept", Style::guide());
    }
    let images = if valid { valid_images(&run.evaluation) } else { "training images" };
    let caption = format!(
        "Logits of the own class and of the others, mean ± standard deviation over the {images}; \
         run {}.",
        run.number
    );
    figure_unless_empty(&chart, &caption, "No epoch has statistics of logits.")
}

fn over_epochs(title: String, label: &str) -> Chart {
    Chart::new(title, Axis::new("epoch").whole(), Axis::new(label))
}

fn figure_unless_empty(chart: &Chart, caption: &str, missing: &str) -> String {
    match chart.is_empty() {
        true => html::note(missing),
        false => html::figure(&chart.render(), caption),
    }
}

/// The epochs that have a value.
fn curve(history: &History, value: impl Fn(&Epoch) -> Option<f64>) -> Vec<[f64; 2]> {
    let point = |epoch: &Epoch| Some([epoch.epoch as f64, value(epoch)?]);
    thin(history.epochs.iter().filter_map(point).collect())
}

/// Every so many points and the last.
fn thin<T: Copy>(points: Vec<T>) -> Vec<T> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate().filter(|(at, _)| at.is_multiple_of(step) || *at == last);
    kept.map(|(_, point)| *point).collect()
}

/// Histograms of the score that the papers use with the head, and the ROC curves of all sets.
pub(super) fn detection(run: &Run) -> Result<String, ReportError> {
    let evaluation = &run.evaluation;
    let score = shown_score(evaluation);
    let sets = set_names(evaluation);
    if sets.is_empty() {
        return Ok(html::note("No OOD set was evaluated, hence no scores and ROC curves."));
    }
    let Some((_, id)) = read_scores(run, ID, score)? else {
        let file = format!("{SCORES}/{ID}.{}.txt", score);
        return Ok(html::note(&format!("There is no {file}, hence no scores and ROC curves.")));
    };
    let mut roc = Chart::new(
        format!("ROC curves of {} by {}", evaluation.id_data, score),
        Axis::new("share of OOD images accepted (FPR)").shares(),
        Axis::new("share of ID images accepted (TPR)").shares(),
    )
    .tall();
    let (mut content, mut missing) = (String::new(), Vec::new());
    for name in &sets {
        let Some((path, ood)) = read_scores(run, name, score)? else {
            missing.push(*name);
            continue;
        };
        let style = style_of(&sets, name);
        content.push_str(&histogram(evaluation, score, name, (&id, &ood), style));
        let curve = RocCurve::from_scores(&id, &ood, Positive::InDistribution)
            .map_err(|source| ReportError::Metric { path, source })?;
        roc.line(style, roc_points(&curve));
        roc.key(format!("{name}: {:.2} %", 100.0 * curve.auc()), style);
    }
    if !roc.is_empty() {
        roc.line(Style::guide(), vec![[0.0, 0.0], [1.0, 1.0]]);
        roc.line(Style::guide(), vec![[0.0, 0.95], [1.0, 0.95]]);
        roc.key("guessing, and 95 % TPR", Style::guide());
        let caption = format!(
            "ROC curves by {} with {} as positive, and the area below each; run {}.",
            score, evaluation.id_data, run.number
        );
        content.push_str(&html::figure(&roc.render(), &caption));
    }
    let mut figures = html::figures(&content);
    if !missing.is_empty() {
        let (missing, score) = (missing.join(", "), score);
        figures.push_str(&html::note(&format!("There are no files with {score} of: {missing}.")));
    }
    Ok(figures)
}

fn histogram(
    evaluation: &Evaluation,
    score: &str,
    set: &str,
    (id, ood): (&[f64], &[f64]),
    style: Style,
) -> String {
    let of_id = Style::series(0);
    let mut chart = Chart::new(
        format!("{} of {} and of {set}", score, evaluation.id_data),
        Axis::new(format!("{} (high = in-distribution)", score)),
        Axis::new("share of images"),
    );
    if let Some(range) = finite_range(id.iter().chain(ood)) {
        chart.bars(of_id, shares(id, range));
        chart.bars(style, shares(ood, range));
    }
    chart.area_key(format!("{} (ID)", evaluation.id_data), of_id);
    chart.area_key(format!("{set} (OOD)"), style);

    let detection = evaluation.detection.iter().find(|d| d.set == set && d.score == score);
    let mut caption = format!("{} of {} and of {set}.", score, evaluation.id_data);
    if let Some(detection) = detection {
        let shown = [PAPERS_AUROC, PAPERS_TNR]
            .map(|measure| format!("{} {:.2} %", measure.name, 100.0 * (measure.of)(detection)));
        caption.push_str(&format!(" {}, as in the papers' tables.", shown.join(", ")));
    }
    if let Some(detector) = evaluation.detector.as_ref().filter(|d| d.score == score) {
        chart.upright(Style::guide(), detector.threshold);
        chart.key("threshold of the detector", Style::guide());
        let (target, accepted) = (100.0 * detector.target_tpr, 100.0 * detector.accepted);
        caption.push_str(&format!(
            " The threshold was fitted to accept {target:.1} % of held-out images; it accepts \
             {accepted:.1} % of the ID test images"
        ));
        match detection.and_then(|d| d.rejected) {
            Some(rejected) => {
                caption.push_str(&format!(" and rejects {:.1} % of {set}.", 100.0 * rejected));
            }
            None => caption.push('.'),
        }
    }
    let infinite = id.iter().chain(ood).filter(|score| !score.is_finite()).count();
    if infinite > 0 {
        caption.push_str(&format!(" Infinite scores, not drawn: {infinite}."));
    }
    html::figure(&chart.render(), &caption)
}

/// The curve from the origin on, without corners that nobody would see.
fn roc_points(curve: &RocCurve) -> Vec<[f64; 2]> {
    let mut last = [0.0, 0.0];
    let mut points = vec![last];
    for corner in curve.corners() {
        // All steps together are as long as 2.
        if corner.fpr - last[0] + corner.tpr - last[1] >= 2.0 / MOST_POINTS as f64 {
            last = [corner.fpr, corner.tpr];
            points.push(last);
        }
    }
    points.extend(curve.points.last().map(|point| [point.fpr, point.tpr]));
    points
}

/// Accuracy over confidence, before and after a temperature was fitted.
pub(super) fn reliability(run: &Run) -> String {
    let Evaluation { classification, calibrated, id_data, .. } = &run.evaluation;
    let filled = |metrics: &CalibrationMetrics| -> Vec<ReliabilityBin> {
        metrics.bins.iter().copied().filter(|bin| bin.count > 0).collect()
    };
    let mut chart = Chart::new(
        format!("Accuracy over confidence on {id_data}"),
        Axis::new("confidence (largest probability)").shares(),
        Axis::new("accuracy").shares(),
    )
    .tall();
    let raw = Style::series(0);
    // Bars that do not touch can be told apart.
    let bar = |bin: &ReliabilityBin| [bin.lower + 0.003, bin.upper - 0.003, bin.accuracy];
    chart.bars(raw, filled(classification).iter().map(bar).collect());
    if chart.is_empty() {
        return html::note("The evaluation has no reliability bins.");
    }
    chart.area_key("as trained", raw);
    let errors = |metrics: &CalibrationMetrics| {
        format!("ECE {:.2} %, MCE {:.2} %", 100.0 * metrics.ece, 100.0 * metrics.mce)
    };
    let number = run.number;
    let mut caption = format!(
        "Accuracy of the images in each bin of confidence; run {number}. As trained: {}.",
        errors(classification)
    );
    if let Some(calibrated) = calibrated {
        let style = Style::series(1).dots();
        let bins = filled(&calibrated.classification);
        chart.line(style, bins.iter().map(|bin| [bin.confidence, bin.accuracy]).collect());
        chart.key("after calibration", style);
        caption.push_str(&format!(
            " With the temperature {:.3}, fitted on held-out images: {}.",
            calibrated.temperature,
            errors(&calibrated.classification)
        ));
    }
    chart.line(Style::guide(), vec![[0.0, 0.0], [1.0, 1.0]]);
    chart.key("perfect", Style::guide());
    html::figures(&html::figure(&chart.render(), &caption))
}

/// Pictures of the images that are told apart worst, as many as there is `bytes_left` for, in bytes.
pub(super) fn worst(run: &Run, bytes_left: &mut u64) -> Result<String, ReportError> {
    let evaluation = &run.evaluation;
    let score = shown_score(evaluation);
    let mut pictures = vec![(
        ID,
        format!("Images of {} (ID) with the lowest {score}: taken for OOD.", evaluation.id_data),
    )];
    pictures.extend(set_names(evaluation).into_iter().map(|set| {
        (set, format!("Images of {set} (OOD) with the highest {score}: taken for ID."))
    }));
    let (mut content, mut left_out) = (String::new(), Vec::new());
    for (name, caption) in pictures {
        let Some(path) = file_of(run, WORST, &format!("{name}.png")) else {
            continue;
        };
        let unreadable = |source| ReportError::Picture { path: path.clone(), source };
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        if size > *bytes_left {
            left_out.push(format!("{WORST}/{name}.png"));
            continue;
        }
        *bytes_left -= size;
        let png = fs::read(&path).map_err(unreadable)?;
        let Some(pixels) = png_size(&png) else {
            return Err(ReportError::NotAPicture { path });
        };
        content.push_str(&html::picture(&png, pixels, &caption, &caption));
    }
    let mut figures = html::figures(&content);
    if !left_out.is_empty() {
        let files = left_out.join(", ");
        figures.push_str(&html::note(&format!("Left out to keep this page small: {files}.")));
    } else if content.is_empty() {
        figures = html::note(&format!("There are no pictures in the folder {WORST}."));
    }
    Ok(figures)
}

/// Width and height from the header of a PNG file.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let header = bytes.strip_prefix(PNG_SIGNATURE)?.get(8..16)?;
    let (width, height) = header.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(height.try_into().ok()?)))
}

/// The score that the papers use with the head.
fn shown_score(evaluation: &Evaluation) -> &str {
    let default = evaluation.detection.iter().find(|detection| detection.is_default);
    default.map_or(Score::default_for(evaluation.head).name(), |detection| &detection.score)
}

/// The OOD sets, each once.
pub(super) fn set_names(evaluation: &Evaluation) -> Vec<&str> {
    let mut names = Vec::new();
    evaluation.detection.iter().for_each(|detection| push_new(&mut names, &detection.set));
    names
}

fn push_new<'a>(names: &mut Vec<&'a str>, name: &'a str) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// A set has the same colour in all charts of an experiment; the first belongs to the ID data.
fn style_of(sets: &[&str], name: &str) -> Style {
    Style::series(1 + sets.iter().position(|set| *set == name).unwrap_or(sets.len()))
}

/// The scores of a set, if they were kept.
fn read_scores(
    run: &Run,
    set: &str,
    score: &str,
) -> Result<Option<(PathBuf, Vec<f64>)>, ReportError> {
    match file_of(run, SCORES, &format!("{set}.{}.txt", score)) {
        Some(path) => Ok(Some((path.clone(), scores::read(path)?))),
        None => Ok(None),
    }
}

/// A file in a folder of a run. Names come from files, so none may lead elsewhere.
fn file_of(run: &Run, folder: &str, name: &str) -> Option<PathBuf> {
    let plain = Path::new(name).file_name() == Some(OsStr::new(name));
    let path = run.folder.join(folder).join(name);
    (plain && path.is_file()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_thinned_from_end_to_end() -> Result<(), Box<dyn std::error::Error>> {
        let thinned = thin((0..10_001).collect());
        assert!(thinned.len() <= MOST_POINTS + 1);
        assert_eq!((thinned.first(), thinned.last()), (Some(&0), Some(&10_000)));
        assert!(thin(Vec::<u8>::new()).is_empty());

        // A curve that turns at every score.
        let ood: Vec<f32> = (0..20_000_u16).map(f32::from).collect();
        let id: Vec<f32> = ood.iter().map(|score| score + 0.5).collect();
        let curve = RocCurve::from_scores(&id, &ood, Positive::InDistribution)?;
        let points = roc_points(&curve);
        assert!(points.len() > 100 && points.len() <= MOST_POINTS + 2, "{}", points.len());
        assert_eq!((points.first(), points.last()), (Some(&[0.0, 0.0]), Some(&[1.0, 1.0])));
        Ok(())
    }

    #[test]
    fn only_pictures_have_a_size() {
        let header = [PNG_SIGNATURE, b"\0\0\0\rIHDR\0\0\x01\0\0\0\0\x02"].concat();
        assert_eq!(png_size(&header), Some((256, 2)));
        assert_eq!(png_size(b"GIF89a"), None);
        assert_eq!(png_size(&header[..20]), None);
    }
}
