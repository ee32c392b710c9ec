//! Runs a foreign program to its end, or until patience ends, and keeps what it wrote.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a program with a time limit is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// How a program ended.
pub(in crate::runtime) enum Outcome {
    /// By itself.
    Exited { status: ExitStatus, stdout: String, stderr: String },
    /// It took too long and was killed.
    TimedOut,
}

/// Runs `command` without input; `None` waits as long as it takes.
pub(in crate::runtime) fn run(mut command: Command, limit: Option<Duration>) -> io::Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let status = match limit {
        None => child.wait()?,
        Some(limit) => match wait_until(&mut child, Instant::now() + limit)? {
            Some(status) => status,
            // The readers are left behind: a grandchild may hold the pipes open for as long as it likes.
            None => return Ok(Outcome::TimedOut),
        },
    };
    Ok(Outcome::Exited { status, stdout: collect(stdout), stderr: collect(stderr) })
}

/// Waits for the child; kills it at the deadline, and then answers `None`.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe stops no one.
fn read_aside(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What arrived before an error is all there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn collect(reader: Option<JoinHandle<String>>) -> String {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}
