//! NVRTC, the compiler: source to a device's code.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use libloading::Library;

use super::CudaError;

type Program = *mut c_void;

/// The compiler's functions.
pub struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    arch_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    archs: unsafe extern "C" fn(*mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: SizeOf,
    log: BytesOf,
    cubin_size: SizeOf,
    cubin: BytesOf,
    ptx_size: SizeOf,
    ptx: BytesOf,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    /// Keeps the functions where they are.
    _library: Library,
}

type SizeOf = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type BytesOf = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// What to compile for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Code of this architecture, which its devices and later ones of the same generation run as it is.
    Device(u32),
    /// Intermediate code, which the driver of a device that NVRTC does not know yet translates.
    Virtual(u32),
}

impl Target {
    /// The target for a device of compute capability `device` (80 for 8.0), of those that the compiler knows.
    ///
    /// # Errors
    /// The device is older than all.
    pub fn choose(device: u32, known: &[u32]) -> Result<Self, CudaError> {
        let older = known.iter().copied().filter(|arch| *arch <= device).max();
        match older {
            Some(arch) if arch / 10 == device / 10 => Ok(Target::Device(arch)),
            Some(arch) => Ok(Target::Virtual(arch)),
            None => Err(CudaError(format!(
                "the device has compute capability {}.{}, which this NVRTC no longer compiles for; use an older NVRTC, or \
                 run without the operator library",
                device / 10,
                device % 10
            ))),
        }
    }

    /// The compiler's option.
    pub fn option(self) -> String {
        match self {
            Target::Device(arch) => format!("--gpu-architecture=sm_{arch}"),
            Target::Virtual(arch) => format!("--gpu-architecture=compute_{arch}"),
        }
    }
}

impl Nvrtc {
    /// Takes the functions from the library.
    ///
    /// # Errors
    /// It lacks one.
    pub fn new(library: Library) -> Result<Self, CudaError> {
        // SAFETY: the types are those of NVRTC's interface, the same in releases 12 and 13.
        unsafe {
            Ok(Self {
                version: symbol(&library, "nvrtcVersion")?,
                error_string: symbol(&library, "nvrtcGetErrorString")?,
                arch_count: symbol(&library, "nvrtcGetNumSupportedArchs")?,
                archs: symbol(&library, "nvrtcGetSupportedArchs")?,
                create: symbol(&library, "nvrtcCreateProgram")?,
                compile: symbol(&library, "nvrtcCompileProgram")?,
                log_size: symbol(&library, "nvrtcGetProgramLogSize")?,
                log: symbol(&library, "nvrtcGetProgramLog")?,
                cubin_size: symbol(&library, "nvrtcGetCUBINSize")?,
                cubin: symbol(&library, "nvrtcGetCUBIN")?,
                ptx_size: symbol(&library, "nvrtcGetPTXSize")?,
                ptx: symbol(&library, "nvrtcGetPTX")?,
                destroy: symbol(&library, "nvrtcDestroyProgram")?,
                _library: library,
            })
        }
    }

    /// Major and minor version.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn version(&self) -> Result<(i32, i32), CudaError> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: places to write.
        self.check(unsafe { (self.version)(&mut major, &mut minor) }, "nvrtcVersion")?;
        Ok((major, minor))
    }

    /// Architectures that it compiles for, such as 80.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn architectures(&self) -> Result<Vec<u32>, CudaError> {
        let mut count = 0;
        // SAFETY: a place to write, and then as many as were counted.
        let found = unsafe {
            self.check((self.arch_count)(&mut count), "nvrtcGetNumSupportedArchs")?;
            let mut found = vec![0; usize::try_from(count).unwrap_or(0)];
            self.check((self.archs)(found.as_mut_ptr()), "nvrtcGetSupportedArchs")?;
            found
        };
        Ok(found.into_iter().filter_map(|arch| u32::try_from(arch).ok()).collect())
    }

    /// Compiles a source: to a device's code, or to PTX for a virtual target.
    ///
    /// # Errors
    /// What the compiler says about the source.
    pub fn compile(&self, source: &str, target: Target, options: &[&str]) -> Result<Vec<u8>, CudaError> {
        let source = CString::new(source).map_err(|_| CudaError("the source has a 0 in it".into()))?;
        let mut program = ptr::null_mut();
        // SAFETY: strings that end with 0, no headers, and a place to write.
        let made = unsafe {
            let name = c"ibgraph.cu".as_ptr();
            (self.create)(&mut program, source.as_ptr(), name, 0, ptr::null(), ptr::null())
        };
        self.check(made, "nvrtcCreateProgram")?;
        let outcome = self.compiled(program, target, options);
        // SAFETY: the program that was made above.
        unsafe { (self.destroy)(&mut program) };
        outcome
    }

    fn compiled(&self, program: Program, target: Target, options: &[&str]) -> Result<Vec<u8>, CudaError> {
        let all = options.iter().map(|o| (*o).to_owned()).chain([target.option()]);
        let all: Vec<CString> = all.filter_map(|option| CString::new(option).ok()).collect();
        let pointers: Vec<*const c_char> = all.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: a program, and options that live until the call returns.
        let status = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        if status != 0 {
            let log = self.bytes(program, self.log_size, self.log, "log").unwrap_or_default();
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
            let first: String = log.chars().take(2000).collect();
            let why = self.error(status);
            return Err(CudaError(format!(
                "NVRTC did not compile the fused operator's kernels ({why}); this is a defect of ibgraph. {first}"
            )));
        }
        match target {
            Target::Device(_) => self.bytes(program, self.cubin_size, self.cubin, "code"),
            Target::Virtual(_) => self.bytes(program, self.ptx_size, self.ptx, "PTX"),
        }
    }

    fn bytes(
        &self,
        program: Program,
        size_of: SizeOf,
        get: BytesOf,
        what: &str,
    ) -> Result<Vec<u8>, CudaError> {
        let mut size = 0;
        // SAFETY: a program; the buffer has the size that was asked for.
        unsafe {
            self.check(size_of(program, &mut size), what)?;
            let mut bytes = vec![0_u8; size];
            self.check(get(program, bytes.as_mut_ptr().cast()), what)?;
            Ok(bytes)
        }
    }

    fn check(&self, status: c_int, what: &str) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        Err(CudaError(format!("NVRTC failed ({what}): {}", self.error(status))))
    }

    fn error(&self, status: c_int) -> String {
        // SAFETY: a string that lives as long as the library, for any number.
        let text = unsafe { (self.error_string)(status) };
        if text.is_null() {
            return status.to_string();
        }
        // SAFETY: as above.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

/// A function of a library.
///
/// # Safety
/// `T` is the type of a pointer to the function, which is not used after the library is closed.
pub(super) unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, CudaError> {
    // SAFETY: the caller's promise.
    let found = unsafe { library.get::<T>(name) };
    found
        .map(|symbol| *symbol)
        .map_err(|error| CudaError(format!("a library of CUDA has no `{name}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gets_the_nearest_code_that_it_runs() {
        let known = [75, 80, 86, 89, 90, 100, 120];
        assert_eq!(Target::choose(80, &known).unwrap(), Target::Device(80));
        assert_eq!(Target::choose(87, &known).unwrap(), Target::Device(86));
        assert_eq!(Target::choose(121, &known).unwrap(), Target::Device(120));
        assert_eq!(Target::choose(130, &known).unwrap(), Target::Virtual(120));
        let error = Target::choose(61, &known).unwrap_err().to_string();
        assert!(error.contains("6.1"), "{error}");
    }
}
