//! Configurations of trainings in TOML and JSON, and results in JSON.

#![no_main]

use isomax_bench::cli::ConfigOptions;
use isomax_bench::results::{self, Evaluation, History, Training};
use isomax_bench::train::TrainingConfig;
use isomax_fuzz::results::{check, comes_back};
use isomax_fuzz::scratch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // What it is, the name of the file says.
    let toml = scratch::write("config/experiment.toml", bytes);
    let json = scratch::write("config/experiment.json", bytes);
    for path in [&toml, &json] {
        match ConfigOptions::read(path) {
            Ok(options) => use_options(options),
            Err(error) => {
                let (message, path) = (error.to_string(), path.display().to_string());
                assert!(message.starts_with(&path), "{message} does not name the file");
            }
        }
    }
    check::<TrainingConfig>(&json);
    check::<Training>(&json);
    check::<History>(&json);
    check::<Evaluation>(&json);
});

fn use_options(options: ConfigOptions) {
    // In words, as numbers of TOML may be NaN, which is not equal to itself.
    let said = format!("{options:?}");
    let none = ConfigOptions::default;
    assert_eq!(format!("{:?}", options.clone().or(none())), said, "a file alone");
    assert_eq!(format!("{:?}", none().or(options.clone())), said, "flags that say nothing");

    let Ok(config) = options.config() else { return };
    config.check().expect("a configuration that was checked");
    config.normalization().expect("that of a published set");
    assert!(!config.experiment_name().is_empty() && config.recipe().fields().count() > 0);
    comes_back(&config);
    // What is kept of a training is a file of options too.
    let path = scratch::path("config/config.json");
    results::write(&path, &config).expect("what was read can be written");
    let again = ConfigOptions::read(&path).expect("what was written can be read");
    assert_eq!(again.config().expect("as before"), config);
}
