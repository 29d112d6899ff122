//! What must hold of post-hoc detectors whatever the numbers are.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use isomax_burn::posthoc::{
    BankConfig, Dims, FeatureStatistics, FitError, Method, MethodError, Needs, PostHocDetector,
};
use isomax_burn::{
    DetectorConfig, DetectorError, Head, HeadConfig, HeadKind, HostLogits, OodHead, Score,
};
use proptest::prelude::*;

use crate::support::{device, few_cases, ints, matrix, values};

const WIDTH: usize = 6;
const CLASSES: usize = 3;

on_every_backend!(
    distances_are_those_of_the_definition,
    relative_distances_do_not_see_affine_maps,
    neighbours_are_exact_in_a_bank_of_many_parts,
    detectors_come_back_from_their_files,
    heads_that_it_was_not_fitted_for_are_refused,
    decisions_are_those_of_scores_and_logits,
    features_that_hardly_vary_give_numbers,
    samples_that_do_not_suffice_are_errors,
    what_is_cut_off_is_seen_all_the_same,
    files_of_before_give_the_scores_of_before,
);

/// Numbers that look like features after a ReLU: about a centre for each class, many zeros.
fn rows(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|i| {
            (0..WIDTH)
                .map(|j| {
                    (next() + next() + if j % CLASSES == i % CLASSES { 1.5 } else { 0.2 }).max(0.0)
                })
                .collect()
        })
        .collect()
}

fn labels(count: usize) -> Vec<i64> {
    (0..count).map(|i| (i % CLASSES) as i64).collect()
}

fn head<B: Backend>(kind: HeadKind) -> Head<B> {
    B::seed(&device::<B::Device>(), 7);
    let head = HeadConfig::new(kind, WIDTH, CLASSES).init::<B>(&device());
    // Drawn now: other tests draw numbers as well.
    if let Head::SoftMax(head) = &head {
        drop(head.bias.val());
    }
    let mut prototypes = rows(CLASSES, 11);
    prototypes.iter_mut().enumerate().for_each(|(class, row)| row[class] += 1.0);
    match head {
        Head::SoftMax(mut head) => {
            head.weights = burn::module::Param::from_tensor(matrix(&prototypes));
            head.into()
        }
        head => head.with_prototypes(matrix(&prototypes)).unwrap(),
    }
}

fn collect<B: Backend>(
    head: &Head<B>,
    training: &[Vec<f32>],
    bank: BankConfig,
) -> FeatureStatistics {
    let mut statistics = FeatureStatistics::new(Needs::ALL, WIDTH, CLASSES, bank);
    let features = matrix::<B>(training);
    let labels = ints(&labels(training.len()));
    statistics.update(features.clone(), head.forward(features), labels).unwrap();
    statistics
}

fn method(text: &str) -> Method {
    text.parse().unwrap()
}

fn scores<B: Backend>(
    head: &Head<B>,
    training: &[Vec<f32>],
    text: &str,
    new: &[Vec<f32>],
) -> Vec<f32> {
    let fitted = collect(head, training, BankConfig::new()).fit(&method(text), head).unwrap();
    values(fitted.score(matrix(new), head))
}

/// `dᵀ Σ⁻¹ d` by Gaussian elimination.
fn solve(mut matrix: Vec<Vec<f64>>, d: &[f64]) -> f64 {
    let n = d.len();
    let mut x = d.to_vec();
    for i in 0..n {
        let pivot =
            (i..n).max_by(|&a, &b| matrix[a][i].abs().total_cmp(&matrix[b][i].abs())).unwrap();
        matrix.swap(i, pivot);
        x.swap(i, pivot);
        for j in i + 1..n {
            let factor = matrix[j][i] / matrix[i][i];
            let upper = matrix[i].clone();
            matrix[j].iter_mut().zip(&upper).for_each(|(a, b)| *a -= factor * b);
            x[j] -= factor * x[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| matrix[i][j] * x[j]).sum();
        x[i] = (x[i] - known) / matrix[i][i];
    }
    d.iter().zip(&x).map(|(a, b)| a * b).sum()
}

fn distances_are_those_of_the_definition<B: Backend>() {
    let (training, new) = (rows(90, 1), rows(20, 2));
    let mean = |of: &[&Vec<f32>]| -> Vec<f64> {
        (0..WIDTH)
            .map(|j| of.iter().map(|row| f64::from(row[j])).sum::<f64>() / of.len() as f64)
            .collect()
    };
    let means: Vec<Vec<f64>> = (0..CLASSES)
        .map(|c| mean(&training.iter().skip(c).step_by(CLASSES).collect::<Vec<_>>()))
        .collect();
    let mut within = vec![vec![0.0; WIDTH]; WIDTH];
    for (index, row) in training.iter().enumerate() {
        let mean = &means[index % CLASSES];
        let apart: Vec<f64> = row.iter().zip(mean).map(|(x, mean)| f64::from(*x) - mean).collect();
        for (line, a) in within.iter_mut().zip(&apart) {
            line.iter_mut().zip(&apart).for_each(|(sum, b)| *sum += a * b / training.len() as f64);
        }
    }
    let ours = scores(&head::<B>(HeadKind::SoftMax), &training, "mahalanobis", &new);
    for (row, ours) in new.iter().zip(ours) {
        let distance = |mean: &Vec<f64>| {
            let apart: Vec<f64> = row.iter().zip(mean).map(|(x, m)| f64::from(*x) - m).collect();
            solve(within.clone(), &apart)
        };
        let expected = -means.iter().map(distance).fold(f64::INFINITY, f64::min);
        assert!(
            (f64::from(ours) - expected).abs() < 1e-4 * expected.abs().max(1.0),
            "{ours}, {expected}"
        );
    }
}

fn relative_distances_do_not_see_affine_maps<B: Backend>() {
    let (training, new) = (rows(90, 3), rows(20, 4));
    let map = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
        rows.iter()
            .map(|row| {
                (0..WIDTH).map(|j| 2.0 * row[j] - 0.5 * row[(j + 1) % WIDTH] + j as f32).collect()
            })
            .collect()
    };
    let head = head::<B>(HeadKind::IsoMaxPlus);
    let before = scores(&head, &training, "rmds", &new);
    let after = scores(&head, &map(&training), "rmds", &map(&new));
    for (before, after) in before.iter().zip(after) {
        assert!((before - after).abs() < 2e-3, "{before} is not {after}");
    }
}

fn neighbours_are_exact_in_a_bank_of_many_parts<B: Backend>() {
    // More rows than are multiplied at once.
    let (training, new) = (rows(9_000, 5), rows(6, 6));
    let unit = |row: &Vec<f32>| -> Vec<f64> {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|x| f64::from(*x) / norm).collect()
    };
    let bank: Vec<Vec<f64>> = training.iter().map(unit).collect();
    for k in [1, 7, 9_000] {
        let ours = scores(&head::<B>(HeadKind::SoftMax), &training, &format!("knn:k={k}"), &new);
        for (row, ours) in new.iter().map(unit).zip(ours) {
            let distance =
                |z: &Vec<f64>| row.iter().zip(z).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            let mut distances: Vec<f64> = bank.iter().map(distance).collect();
            distances.sort_by(f64::total_cmp);
            assert!((f64::from(ours) + distances[k - 1]).abs() < 1e-5, "k = {k}: {ours}");
        }
    }
}

fn fit<B: Backend>(head: &Head<B>, method: &Method) -> PostHocDetector<B> {
    let fitted = collect(head, &rows(120, 8), BankConfig::new()).fit(method, head).unwrap();
    let config = DetectorConfig::new().with_target_tpr(0.9);
    PostHocDetector::fit(&config, fitted, head, matrix(&rows(60, 9))).unwrap()
}

fn detectors_come_back_from_their_files<B: Backend>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detector.safetensors");
    for kind in [HeadKind::SoftMax, HeadKind::IsoMax, HeadKind::IsoMaxPlus, HeadKind::DisMax] {
        let head = head::<B>(kind);
        let new = rows(15, 10);
        for method in Method::suited_to(&head) {
            let detector = fit(&head, &method).with_confidence_temperature(0.5).unwrap();
            detector.save(&path).unwrap();
            let loaded = PostHocDetector::<B>::load(&path, &device()).unwrap();
            assert_eq!(loaded.to_bytes(), detector.to_bytes(), "{method}");
            let decide =
                |detector: &PostHocDetector<B>| detector.decide(&head, matrix(&new)).unwrap();
            assert_eq!(decide(&loaded), decide(&detector), "{method} on {kind}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn heads_that_it_was_not_fitted_for_are_refused<B: Backend>() {
    let head = head::<B>(HeadKind::IsoMaxPlus);
    let new = || matrix::<B>(&rows(3, 12));
    for method in Method::suited_to(&head) {
        let detector = fit(&head, &method);
        let warmer = head.clone().with_temperature(2.0);
        let decided = detector.decide(&warmer, new());
        match method.reads_temperature() {
            true => assert!(
                matches!(decided, Err(DetectorError::TemperatureMismatch { .. })),
                "{method}: {decided:?}"
            ),
            false => {
                let scores =
                    |of: Vec<isomax_burn::Decision>| of.iter().map(|d| d.score).collect::<Vec<_>>();
                let expected = detector.decide(&head, new()).unwrap();
                assert_eq!(scores(decided.unwrap()), scores(expected), "{method}");
            }
        }
        let moved = matrix::<B>(&rows(CLASSES, 13));
        let trained_on = head.clone().with_prototypes(moved).unwrap();
        let error = detector.decide(&trained_on, new()).unwrap_err();
        assert!(matches!(error, DetectorError::OtherWeights { .. }), "{method}: {error}");
        let another = self::head::<B>(HeadKind::DisMax);
        let error = detector.decide(&another, new()).unwrap_err();
        assert!(matches!(error, DetectorError::HeadMismatch { .. }), "{method}: {error}");
    }
    let detector = fit(&head, &Method::Ctm);
    let narrow = Tensor::<B, 2>::zeros([2, WIDTH - 1], &device());
    let error = detector.decide(&head, narrow).unwrap_err();
    assert!(matches!(error, DetectorError::FeatureWidth { expected: WIDTH, .. }), "{error}");
    let config = DetectorConfig::new().with_score(Score::ES);
    let error = PostHocDetector::fit(&config, detector.fitted().clone(), &head, new()).unwrap_err();
    assert!(matches!(error, DetectorError::InvalidField { .. }), "{error}");
}

fn decisions_are_those_of_scores_and_logits<B: Backend>() {
    let head = head::<B>(HeadKind::SoftMax);
    let detector = fit(&head, &method("knn:k=3"));
    let new = rows(30, 14);
    let decisions = detector.decide(&head, matrix(&new)).unwrap();
    let logits = HostLogits::read(head.forward(matrix::<B>(&new))).unwrap();
    let scores = values(detector.fitted().score(matrix(&new), &head));
    for ((decision, class), score) in decisions.iter().zip(logits.classes()).zip(scores) {
        assert_eq!((decision.class, decision.score), (class, f64::from(score)));
        assert_eq!(decision.in_distribution, decision.score >= detector.threshold());
    }
    assert_eq!((detector.num_samples(), detector.held_out_scores().len()), (60, 60));
    let accepted = |features: &[Vec<f32>]| {
        let decisions = detector.decide(&head, matrix(features)).unwrap();
        decisions.iter().filter(|decision| decision.in_distribution).count()
    };
    assert_eq!(accepted(&rows(60, 9)), 54, "nine in ten of the held-out samples");

    let mut broken = new;
    broken[1][2] = f32::NAN;
    assert!(matches!(detector.decide(&head, matrix(&broken)), Err(DetectorError::Metric(_))));
    // Other rows of the batch are as they were.
    let scores = values(detector.fitted().score(matrix(&broken), &head));
    assert!(scores[1].is_nan());
    assert_eq!(f64::from(scores[2]), decisions[2].score);
}

/// Units that are always zero, fewer samples than features, one sample for each class, a feature of zeros.
fn features_that_hardly_vary_give_numbers<B: Backend>() {
    let dead = |mut rows: Vec<Vec<f32>>| {
        rows.iter_mut().for_each(|row| row[4] = 0.0);
        rows
    };
    let zeros = vec![vec![0.0; WIDTH]];
    for kind in HeadKind::ALL {
        let head = head::<B>(kind);
        for training in [dead(rows(60, 15)), rows(5, 16), dead(rows(4, 17))] {
            let statistics = collect(&head, &training, BankConfig::new());
            for method in Method::suited_to(&head) {
                let method = match method {
                    Method::Knn { .. } => Method::Knn { k: 2 },
                    Method::NnGuide { guide, .. } => Method::NnGuide { k: 2, guide },
                    other => other,
                };
                let fitted = match statistics.fit(&method, &head) {
                    Ok(fitted) => fitted,
                    Err(FitError::NoneRight { .. } | FitError::Degenerate { .. }) => continue,
                    Err(error) => panic!("{method} on {kind}: {error}"),
                };
                let new = [rows(8, 18), zeros.clone()].concat();
                let scores = values(fitted.score(matrix(&new), &head));
                assert!(
                    scores.iter().all(|score| score.is_finite()),
                    "{method} on {kind}: {scores:?}"
                );
            }
        }
    }
}

fn what_is_cut_off_is_seen_all_the_same<B: Backend>() {
    // Shaders may take it that there are none.
    if B::name(&device()).contains("wgpu") {
        return;
    }
    let head = head::<B>(HeadKind::SoftMax);
    let training = rows(60, 40);
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        let mut new = rows(3, 41);
        new[1][2] = bad;
        for text in ["react", "ash-p", "ash-b", "ash-s", "scale", "knn:k=3", "MDS"] {
            let found = scores(&head, &training, text, &new);
            let is_number: Vec<bool> = found.iter().map(|score| !score.is_nan()).collect();
            // A logit may be infinite.
            let expected = if text == "MDS" { is_number[1] } else { false };
            assert_eq!(is_number, [true, expected, true], "{text} of {bad}: {found:?}");
        }
    }
}

fn samples_that_do_not_suffice_are_errors<B: Backend>() {
    let head = head::<B>(HeadKind::SoftMax);
    let fit = |statistics: &FeatureStatistics, text: &str| {
        statistics.fit(&method(text), &head).unwrap_err()
    };

    let none = FeatureStatistics::new(Needs::ALL, WIDTH, CLASSES, BankConfig::new());
    assert!(matches!(fit(&none, "ctm"), FitError::NoSamples));

    // A bank for none.
    let empty = collect(&head, &rows(9, 19), BankConfig::new().with_rows(0));
    for text in ["react", "vim", "knn:k=0"] {
        let fitted = text.parse::<Method>().map(|method| empty.fit(&method, &head));
        assert!(!matches!(fitted, Ok(Ok(_))), "{text}");
    }
    assert!(matches!(fit(&empty, "react"), FitError::NoSamples));

    // Two samples: the last class has none.
    let few = collect(&head, &rows(2, 19), BankConfig::new());
    for text in ["mahalanobis", "rmds", "mahalanobis:unit", "ctm"] {
        assert!(matches!(fit(&few, text), FitError::EmptyClass { class: 2, .. }), "{text}");
    }
    assert!(matches!(fit(&few, "she"), FitError::NoneRight { .. }));
    assert!(matches!(fit(&few, "knn"), FitError::TooFewNeighbours { k: 50, bank: 2, .. }));
    assert!(matches!(fit(&few, "nnguide"), FitError::TooFewNeighbours { k: 10, bank: 2, .. }));

    let statistics = collect(&head, &rows(90, 20), BankConfig::new());
    for dims in [WIDTH, WIDTH + 3] {
        for text in [format!("vim:dims={dims}"), format!("residual:dims={dims}:origin=mean")] {
            assert!(matches!(fit(&statistics, &text), FitError::Dims { .. }), "{text}");
        }
    }
    let same = vec![vec![1.0; WIDTH]; 9];
    let constant = collect(&head, &same, BankConfig::new());
    for text in ["mahalanobis", "rmds:unit", "vim:origin=mean"] {
        let error = fit(&constant, text);
        assert!(matches!(error, FitError::Degenerate { .. }), "{text}: {error}");
    }

    let means_alone =
        FeatureStatistics::new(Method::Ctm.needs(), WIDTH, CLASSES, BankConfig::new());
    let mut means_alone = means_alone;
    let features = matrix::<B>(&rows(9, 21));
    means_alone.update(features.clone(), head.forward(features.clone()), ints(&labels(9))).unwrap();
    for text in ["mahalanobis", "rmds:unit", "knn:k=1", "vim", "she", "react"] {
        assert!(matches!(fit(&means_alone, text), FitError::NotCollected { .. }), "{text}");
    }

    let mut statistics = statistics;
    let before = statistics.num_samples();
    let logits = head.forward(features.clone());
    let error = statistics.update(features.clone(), logits.clone(), ints(&[3; 9])).unwrap_err();
    assert!(matches!(error, FitError::Label { found: 3, .. }), "{error}");
    let mut rows = rows(9, 21);
    rows[4][1] = f32::INFINITY;
    let error =
        statistics.update(matrix::<B>(&rows), logits.clone(), ints(&labels(9))).unwrap_err();
    assert!(matches!(error, FitError::NotFinite { what: "features", row: 4 }), "{error}");
    let error = statistics.update(logits, features, ints(&labels(9))).unwrap_err();
    assert!(matches!(error, FitError::Shape { what: "features", .. }), "{error}");
    assert_eq!(statistics.num_samples(), before, "batches that are refused are not taken in");
    let other = FeatureStatistics::new(Needs::ALL, WIDTH, CLASSES, BankConfig::new().with_seed(1));
    assert!(matches!(statistics.merge(other), Err(FitError::Merge { .. })));

    let unit = self::head::<B>(HeadKind::IsoMaxPlus);
    for text in ["scale", "vim:origin=planes"] {
        let error =
            collect(&unit, &self::rows(90, 20), BankConfig::new()).fit(&method(text), &unit);
        assert!(matches!(error, Err(FitError::Unsuitable { .. })), "{text}");
    }
}

#[test]
fn names_are_read_with_their_parameters() {
    assert_eq!(method("RMDS"), method("relative-mahalanobis"));
    assert_eq!(method("Mahalanobis++"), Method::Mahalanobis { unit: true, cutoff: None });
    assert_eq!(
        method("vim : dims=3 : origin=mean"),
        Method::Vim { dims: Dims::Given(3), origin: isomax_burn::posthoc::Origin::Mean }
    );
    for text in [
        "knn:k=0",
        "knn:k=-1",
        "react:share=90",
        "react:share=0",
        "gen:gamma=2",
        "vim:origin=zero",
        "mahalanobis:unit=maybe",
        "react:score=none",
    ] {
        assert!(text.parse::<Method>().is_err(), "{text}");
    }
    let error = "knn:neighbours=3".parse::<Method>().unwrap_err();
    assert!(matches!(&error, MethodError::Parameter { known, .. } if known == &["k"]), "{error}");
    let error = "odinn".parse::<Method>().unwrap_err();
    assert!(error.to_string().contains("mahalanobis"), "{error}");
}

fn any_method() -> impl Strategy<Value = Method> {
    let share = || 0.01..0.99_f64;
    let unit = || prop::sample::select(vec!["", ":unit"]);
    let texts = prop_oneof![
        prop::sample::select(Method::all()).prop_map(|method| method.to_string()),
        (share(), 1_usize..200).prop_map(|(gamma, top)| format!("gen:gamma={gamma}:top={top}")),
        (unit(), share()).prop_map(|(unit, cutoff)| format!("mahalanobis{unit}:cutoff={cutoff}")),
        (1_usize..99).prop_map(|k| format!("nnguide:k={k}:guide=energy")),
        (1_usize..99).prop_map(|dims| format!("residual:dims={dims}:origin=planes")),
        share().prop_map(|alpha| format!("nci:alpha={alpha}")),
        (share(), prop::sample::select(Score::ALL.to_vec()))
            .prop_map(|(share, score)| format!("ash-b:share={share}:score={score}")),
    ];
    texts.prop_map(|text| method(&text))
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn methods_come_back_from_text(method in any_method()) {
        prop_assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
        prop_assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{method}\""));
    }

    #[test]
    fn damaged_files_are_errors_and_never_panics(cut: prop::sample::Index, flip: prop::sample::Index, byte: u8) {
        type B = burn::backend::Flex;
        let head = head::<B>(HeadKind::IsoMaxPlus);
        for method in ["rmds", "knn:k=2", "vim:dims=2", "react"] {
            let whole = fit(&head, &self::method(method)).to_bytes();
            let read = |bytes: &[u8]| PostHocDetector::<B>::from_bytes(bytes, &device());
            let cut = cut.index(whole.len());
            let error = read(&whole[..cut]).unwrap_err();
            prop_assert!(matches!(error, DetectorError::Malformed { .. }), "{}", error);
            let mut bytes = whole;
            let flip = flip.index(bytes.len());
            bytes[flip] = byte;
            if let Ok(detector) = read(&bytes) {
                let decided = detector.decide(&head, matrix(&rows(2, 3)));
                prop_assert!(decided.is_err() || decided.unwrap().iter().all(|d| !d.score.is_nan()));
            }
        }
    }
}

/// Files as they were written before, which this and every later version reads alike.
fn files() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/posthoc_files")
}

const KINDS: [HeadKind; 2] = [HeadKind::SoftMax, HeadKind::IsoMaxPlus];

/// The methods that there are files of.
fn methods_of_files<B: Backend>(head: &Head<B>) -> Vec<Method> {
    let fitted = |method: &Method| !matches!(method, Method::Logit(_));
    Method::suited_to(head).into_iter().filter(fitted).collect()
}

fn name_of_file(kind: HeadKind, method: &Method) -> String {
    format!("{kind}.{method}").replace(':', "+").replace('=', "-")
}

fn files_of_before_give_the_scores_of_before<B: Backend>() {
    let text = std::fs::read_to_string(files().join("scores.json")).unwrap();
    let expected: std::collections::BTreeMap<String, Vec<f32>> =
        serde_json::from_str(&text).unwrap();
    let mut read = 0;
    for kind in KINDS {
        let head = head::<B>(kind);
        for method in methods_of_files(&head) {
            let name = name_of_file(kind, &method);
            let path = files().join(format!("{name}.safetensors"));
            let detector = PostHocDetector::<B>::load(path, &device()).unwrap();
            assert_eq!(detector.method(), method);
            let decisions = detector.decide(&head, matrix(&rows(5, 21))).unwrap();
            let scores: Vec<f32> = decisions.iter().map(|d| d.score as f32).collect();
            crate::support::assert_close(&name, &scores, &expected[&name], 1e-4);
            read += 1;
        }
    }
    assert_eq!(read, expected.len());
}

#[test]
#[ignore = "not run: writes the files anew"]
fn write_the_files() {
    type B = burn::backend::Flex;
    std::fs::create_dir_all(files()).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    for kind in KINDS {
        let head = head::<B>(kind);
        for method in methods_of_files(&head) {
            let (name, detector) = (name_of_file(kind, &method), fit(&head, &method));
            detector.save(files().join(format!("{name}.safetensors"))).unwrap();
            let decisions = detector.decide(&head, matrix(&rows(5, 21))).unwrap();
            expected.insert(name, decisions.iter().map(|d| d.score).collect::<Vec<f64>>());
        }
    }
    let text = serde_json::to_string_pretty(&expected).unwrap();
    std::fs::write(files().join("scores.json"), text + "\n").unwrap();
}
