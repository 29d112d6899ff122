//! PyTorch in a process of its own, which answers questions.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use isomax_bench::memory;

/// A script that says its name, and answers each line with a number.
pub struct PyTorch {
    pub name: String,
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    /// Starts a script of `isomax-models/pytorch`; with or without [`memory::SETTINGS`], if they are there.
    pub fn start(python: &Path, script: &str, same_memory: bool) -> io::Result<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../isomax-models/pytorch");
        let mut process = Command::new(python);
        if !same_memory {
            for (setting, _) in memory::SETTINGS {
                process.env_remove(setting);
            }
        }
        let mut process = process
            .arg(scripts.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| io::Error::other("no output"))?);
        let mut pytorch = Self { name: String::new(), process, questions, answers };
        pytorch.name = pytorch.answer()?;
        Ok(pytorch)
    }

    /// Asks a question, and waits for the number.
    pub fn ask(&mut self, question: &str) -> io::Result<f64> {
        let questions = self.questions.as_mut().ok_or_else(|| io::Error::other("no input"))?;
        writeln!(questions, "{question}")?;
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
