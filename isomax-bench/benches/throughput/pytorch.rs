//! PyTorch in a process of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use isomax_bench::memory;
use isomax_models::Architecture;

use crate::{Arguments, Mode};

/// PyTorch in a process of its own, which answers questions.
pub struct PyTorch {
    pub name: String,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    pub fn start(arguments: &Arguments) -> io::Result<Self> {
        let mut process = Command::new(&arguments.python);
        if !arguments.same_memory {
            for (setting, _) in memory::SETTINGS {
                process.env_remove(setting);
            }
        }
        let mut process =
            process.arg(&arguments.script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| io::Error::other("no output"))?);
        let mut pytorch = Self { name: String::new(), process, questions, answers };
        pytorch.name = pytorch.answer()?;
        Ok(pytorch)
    }

    pub fn measure(
        &mut self,
        network: Architecture,
        mode: Mode,
        arguments: &Arguments,
    ) -> io::Result<f64> {
        let mode = if mode == Mode::Train { "train" } else { "inference" };
        let questions = self.questions.as_mut().ok_or_else(|| io::Error::other("no input"))?;
        writeln!(questions, "{network} {mode} {} {}", arguments.batch, arguments.seconds)?;
        questions.flush()?;
        let answer = self.answer()?;
        answer.parse().map_err(|_| io::Error::other(format!("'{answer}' for a number")))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("PyTorch did not answer"));
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Without questions the process ends by itself.
        self.questions = None;
        if let Err(error) = self.process.wait() {
            eprintln!("PyTorch: {error}");
        }
    }
}
