//! How the program keeps its memory.

/// What tells glibc's allocator to keep memory that was freed: both limits in bytes.
pub const SETTINGS: [(&str, &str); 2] =
    [("MALLOC_TRIM_THRESHOLD_", "4000000000"), ("MALLOC_MMAP_THRESHOLD_", "4000000000")];

/// Keeps memory that was freed for what is allocated next, by starting the program anew with settings of glibc's
/// allocator in its environment: call it first of all. Does nothing on other systems, or if one of the
/// [settings](SETTINGS) is there.
///
/// A training step frees hundreds of megabytes and allocates them again. By default glibc gives much of it back to
/// the system, which hands it out again page by page, filled with zeros: a fifth of the time of a ResNet-20 on two
/// cores. The process stays the same one, with its number and its files, and its memory stays at its peak.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let mut arguments = std::env::args_os();
        let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else {
            return;
        };
        if SETTINGS.iter().any(|(setting, _)| std::env::var_os(setting).is_some()) {
            return;
        }
        let mut anew = std::process::Command::new(program);
        // Returns only where it failed; then the program goes on as it is.
        let error = anew.arg0(name).args(arguments).envs(SETTINGS).exec();
        log::debug!("freed memory is not kept: {error}");
    }
}
