//! Devices of NVIDIA, through the driver's own library where it is installed; a machine without one has no devices.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

use super::{Environment, Gpu};
use crate::bench::results::DeviceState;

/// Fills in devices, driver, CUDA and cuDNN.
pub(super) fn fill(environment: &mut Environment) {
    // Without the library there is no driver, and without a driver no device.
    let Ok(nvml) = Nvml::init() else {
        return;
    };
    environment.driver = nvml.sys_driver_version().ok();
    environment.cuda = nvml.sys_cuda_driver_version().ok().map(|v| format!("{}.{}", v / 1000, v % 1000 / 10));
    environment.cudnn = cudnn();
    let devices = (0..nvml.device_count().unwrap_or(0)).filter_map(|index| nvml.device_by_index(index).ok());
    environment.gpus = devices.map(|device| gpu(&device)).collect();
}

fn gpu(device: &Device) -> Gpu {
    Gpu {
        name: device.name().unwrap_or_else(|_| "unknown".to_owned()),
        memory: device.memory_info().ok().map(|memory| memory.total),
        clock: device.clock_info(Clock::SM).ok(),
        max_clock: device.max_clock_info(Clock::SM).ok(),
        throttle: throttle(device),
    }
}

/// Why the clock is lower than it could be.
fn throttle(device: &Device) -> Vec<String> {
    let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::empty());
    named(reasons)
}

/// Reasons in words, but for an idle device's, which say nothing of a run.
fn named(reasons: ThrottleReasons) -> Vec<String> {
    let reasons = reasons.difference(ThrottleReasons::GPU_IDLE | ThrottleReasons::NONE);
    reasons.iter_names().map(|(name, _)| name.to_lowercase().replace('_', " ")).collect()
}

/// The first device as it is now.
pub(crate) fn device_state() -> Option<DeviceState> {
    let nvml = Nvml::init().ok()?;
    let device = nvml.device_by_index(0).ok()?;
    Some(DeviceState {
        clock: device.clock_info(Clock::SM).ok(),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        throttle: throttle(&device),
    })
}

/// Bytes of memory in use and free on the first device.
pub(crate) fn device_memory() -> Option<(u64, u64)> {
    let nvml = Nvml::init().ok()?;
    let memory = nvml.device_by_index(0).ok()?.memory_info().ok()?;
    Some((memory.used, memory.free))
}

fn cudnn() -> Option<String> {
    let name = if cfg!(windows) { "cudnn64_9.dll" } else { "libcudnn.so.9" };
    // SAFETY: loading runs the library's initialisers; cuDNN's have no requirement, and ONNX Runtime loads it anyway.
    let library = unsafe { libloading::Library::new(name) }.ok()?;
    // SAFETY: `size_t cudnnGetVersion(void)` is its declaration in cudnn_graph.h.
    let version = unsafe {
        let get = library.get::<unsafe extern "C" fn() -> usize>(b"cudnnGetVersion\0").ok()?;
        get()
    };
    Some(format!("{}.{}.{}", version / 10_000, version % 10_000 / 100, version % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_in_words_and_an_idle_clock_is_none() {
        let reasons =
            ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_SLOWDOWN;
        assert_eq!(named(reasons), ["sw power cap", "hw slowdown"]);
        assert!(named(ThrottleReasons::GPU_IDLE).is_empty());
    }
}
