//! `ibgraph runtime`: the ONNX Runtime libraries of this machine.

use std::env;
use std::path::PathBuf;

use super::output::say;
use super::progress::Progress;
use super::{Exit, Failure};
use crate::runtime::discover::{Origin, Search, find};
use crate::runtime::install::{InstallOptions, Progress as Step, install};

/// List or install ONNX Runtime libraries
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the libraries that are found, in the order they are preferred
    List {
        /// Also look here
        #[arg(long, value_name = "PATH")]
        runtime: Option<PathBuf>,
    },
    /// Fetch ONNX Runtime with pip into the user's cache; its checksum is verified before it is loaded
    Install {
        /// The package with CUDA (13); CUDA and cuDNN themselves are not in it
        #[arg(long)]
        cuda: bool,
        /// Install again what is there already
        #[arg(long)]
        force: bool,
        /// The Python interpreter whose pip is used
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List { runtime } => list(runtime),
        Command::Install { cuda, force, python } => add(cuda, force, python),
    }
}

fn list(runtime: Option<PathBuf>) -> Result<Exit, Failure> {
    let search = search(runtime);
    let all = find(&search);
    for found in &all {
        let origin = match &found.origin {
            Origin::Flag => "--runtime".to_owned(),
            Origin::Env => "ORT_DYLIB_PATH".to_owned(),
            Origin::Installed => "installed".to_owned(),
            Origin::Python { interpreter } => {
                format!("Python package of {}", interpreter.display())
            }
        };
        let version = found.version.as_deref().unwrap_or("unknown version");
        let cuda = if found.cuda { ", with CUDA" } else { "" };
        let usable = match &found.usable {
            Ok(()) => String::new(),
            Err(why) => format!("\n    not usable: {why}"),
        };
        say(format!("ONNX Runtime {version}{cuda} ({origin})\n    {}{usable}", found.library.display()));
    }
    if all.is_empty() {
        say("no ONNX Runtime found; `ibgraph runtime install` fetches one");
    }
    say("rten (embedded), always there");
    Ok(Exit::Good)
}

fn add(cuda: bool, force: bool, python: Option<PathBuf>) -> Result<Exit, Failure> {
    let cache_dir =
        cache_dir().ok_or_else(|| Failure::usage("no cache directory: set IBGRAPH_CACHE or HOME"))?;
    let python = python.or_else(|| pythons().into_iter().next());
    let python =
        python.ok_or_else(|| Failure::usage("no Python interpreter found; name one with --python"))?;
    let progress = Progress::waiting();
    let installed = install(&InstallOptions { cache_dir, cuda, python, force }, &mut |step| {
        progress.say(match step {
            Step::Downloading { package, version, bytes } => {
                format!("fetching {package} {version} ({} MB)", bytes / 1_000_000)
            }
            Step::Unpacking => "unpacking".to_owned(),
            Step::AlreadyThere => "already there".to_owned(),
        });
    })?;
    drop(progress);
    let version = installed.version.as_deref().unwrap_or("");
    say(format!("ONNX Runtime {version} is at {}", installed.library.display()));
    Ok(Exit::Good)
}

/// Where to look for libraries, from the environment.
pub fn search(explicit: Option<PathBuf>) -> Search {
    Search {
        explicit,
        env: env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()).map(PathBuf::from),
        cache_dir: cache_dir(),
        pythons: pythons(),
    }
}

/// `IBGRAPH_CACHE`, or `ibgraph` in the user's cache directory.
fn cache_dir() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("IBGRAPH_CACHE") {
        return Some(dir);
    }
    let base = if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    Some(base?.join("ibgraph"))
}

/// Python interpreters: of the active or a nearby virtual environment, then on the path.
fn pythons() -> Vec<PathBuf> {
    let program = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let nearby = active.into_iter().chain([PathBuf::from(".venv")]).map(|dir| dir.join(program));
    let path = env::var_os("PATH").unwrap_or_default();
    let names = if cfg!(windows) { ["python.exe", "python3.exe"] } else { ["python3", "python"] };
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let on_path = names.iter().filter_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|p| p.is_file()));
    nearby.filter(|p| p.is_file()).chain(on_path).collect()
}
