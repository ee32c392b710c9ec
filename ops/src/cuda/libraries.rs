//! NVIDIA's libraries, found at run time: nothing of CUDA is linked, and a machine without a GPU has none of them.

use std::path::{Path, PathBuf};

use libloading::Library;

use super::CudaError;

/// The driver's library.
pub const DRIVER: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Releases of NVRTC that this library knows the interface of, newest first, and the packages that have them.
const RELEASES: [(u32, &str); 2] = [(13, "nvidia-cuda-nvrtc"), (12, "nvidia-cuda-nvrtc-cu12")];

/// The oldest of them. A driver for an older one does not take their code.
pub const OLDEST_RELEASE: u32 = 12;

/// NVRTC's file of a release.
fn nvrtc(release: u32) -> String {
    if cfg!(windows) { format!("nvrtc64_{release}0_0.dll") } else { format!("libnvrtc.so.{release}") }
}

/// Opens the driver's library under `name`.
///
/// # Errors
/// There is none.
pub fn open_driver(name: &str) -> Result<Library, CudaError> {
    // SAFETY: the initialisers of NVIDIA's driver have no conditions.
    unsafe { Library::new(name) }.map_err(|error| {
        CudaError(format!(
            "the fused operator on CUDA needs the library {name} of NVIDIA's driver, and it does not load ({}); install \
             the driver, or run on the CPU provider",
            reason(&error)
        ))
    })
}

/// Opens NVRTC, of the driver's release or the newest one before it, by the loader (which also finds one that the process has)
/// or in `places`. The code of a newer one is too new for the driver.
///
/// # Errors
/// There is none.
pub fn open_nvrtc(driver_release: u32, places: &[PathBuf]) -> Result<Library, CudaError> {
    let mut reasons = Vec::new();
    for (release, _) in fit(driver_release) {
        let name = nvrtc(release);
        let files = places.iter().map(|place| place.join(&name)).filter(|file| file.is_file());
        for file in [PathBuf::from(&name)].into_iter().chain(files) {
            // SAFETY: NVRTC's initialisers have no conditions.
            match unsafe { Library::new(&file) } {
                Ok(library) => return Ok(library),
                Err(error) => reasons.push(reason(&error)),
            }
        }
    }
    let packages = fit(driver_release).map(|(_, package)| format!("`pip install {package}`"));
    let packages: Vec<String> = packages.collect();
    Err(CudaError(format!(
        "the fused operator on CUDA is compiled by NVRTC, and none loads for a driver of CUDA {driver_release} ({}); install \
         it with {}, or with the CUDA toolkit, or run without the operator library",
        reasons.join("; "),
        packages.join(" or ")
    )))
}

/// The releases that a driver takes the code of.
fn fit(driver_release: u32) -> impl Iterator<Item = (u32, &'static str)> {
    RELEASES.into_iter().filter(move |(release, _)| *release <= driver_release)
}

/// Directories that may have NVRTC, going by the files that the process has loaded: beside other libraries of CUDA, and
/// in NVIDIA's packages of the Python environment that ONNX Runtime is of.
pub fn places_of(loaded: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mut add = |place: PathBuf| {
        if !places.contains(&place) {
            places.push(place);
        }
    };
    for file in loaded {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if ["libcudart", "libcublas", "libcudnn"].iter().any(|start| name.starts_with(start))
            && let Some(place) = file.parent()
        {
            add(place.to_owned());
        }
        for site in file.ancestors().filter(|place| is_site(place)) {
            add(site.join("nvidia/cu13/lib"));
            add(site.join("nvidia/cuda_nvrtc/lib"));
        }
    }
    places
}

fn is_site(place: &Path) -> bool {
    place.ends_with("site-packages") || place.ends_with("dist-packages")
}

/// Files that the process has mapped; none where the system has no list of them.
pub fn loaded_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = maps().lines().filter_map(file_of_line).collect();
    files.dedup();
    files
}

/// Keeps this library in the process. ONNX Runtime closes it with the last session that uses it; what is known of devices
/// would be lost with it, and the next session would make contexts, pools and modules again beside those that are there.
pub fn stay() {
    let own = file_at(stay as fn() as usize, &maps());
    // SAFETY: a file that the process has loaded; nothing is initialised a second time.
    if let Some(library) = own.and_then(|file| unsafe { Library::new(file) }.ok()) {
        std::mem::forget(library);
    }
}

fn maps() -> String {
    std::fs::read_to_string("/proc/self/maps").unwrap_or_default()
}

fn file_of_line(line: &str) -> Option<PathBuf> {
    line.find('/').map(|at| PathBuf::from(&line[at..]))
}

/// The file that is mapped at an address, of lines `from-to …  /path`.
fn file_at(address: usize, maps: &str) -> Option<PathBuf> {
    let holds = |line: &&str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).ok());
        Some((from?..to?).contains(&address))
    };
    maps.lines().find(|line| holds(line) == Some(true)).and_then(file_of_line)
}

/// What the loader says, which its error keeps as a source.
fn reason(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri opens no libraries")]
    fn a_missing_driver_says_what_to_install() {
        let error = open_driver("libcuda-that-is-not-there.so.1").unwrap_err().to_string();
        assert!(error.contains("libcuda-that-is-not-there.so.1 of NVIDIA's driver"), "{error}");
        assert!(error.contains("install the driver"), "{error}");
        // The loader's own words, once.
        assert_eq!(error.matches("that-is-not-there").count(), 2, "{error}");
    }

    #[test]
    fn nvrtc_is_not_newer_than_the_driver() {
        let fit = |driver| fit(driver).map(|(release, _)| release).collect::<Vec<_>>();
        assert_eq!([11, 12, 13, 14].map(fit), [vec![], vec![12], vec![13, 12], vec![13, 12]]);
        assert_eq!(RELEASES.map(|(release, _)| release).into_iter().min(), Some(OLDEST_RELEASE));
    }

    #[test]
    fn nvrtc_is_looked_for_where_the_process_has_its_libraries() {
        let site = "/venv/lib/python3.11/site-packages";
        let loaded = [
            format!("{site}/onnxruntime/capi/libonnxruntime_providers_cuda.so"),
            format!("{site}/numpy/core.so"),
            "/usr/local/cuda/lib64/libcublas.so.13".to_owned(),
        ];
        let places = places_of(&loaded.map(PathBuf::from));
        let expected = [
            format!("{site}/nvidia/cu13/lib"),
            format!("{site}/nvidia/cuda_nvrtc/lib"),
            "/usr/local/cuda/lib64".to_owned(),
        ];
        assert_eq!(places, expected.map(PathBuf::from));
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn the_files_of_this_process_are_found() {
        let own = std::env::current_exe().unwrap();
        assert!(loaded_files().contains(&own), "{own:?}");
        assert_eq!(file_at(stay as fn() as usize, &maps()), Some(own));
    }

    #[test]
    fn an_address_is_of_the_file_that_is_mapped_there() {
        let maps = "7f10-7f20 r-xp 00000000 08:01 12 /a b/one.so\n7f20-7f30 rw-p 00000000 00:00 0\nno line\n";
        assert_eq!(file_at(0x7f10, maps), Some(PathBuf::from("/a b/one.so")));
        assert_eq!(file_at(0x7f20, maps), None);
        assert_eq!(file_at(0x7f30, maps), None);
    }
}
