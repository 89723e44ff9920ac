//! Which device tensors live on, and how a CPU build comes by CUDA.
//!
//! The libtorch that Untangle is built against has no CUDA libraries. Where the machine has a PyTorch of exactly the
//! same build, its `libtorch_cuda.so` fits that libtorch; loaded before the first tensor call, it registers itself
//! there and CUDA is available as if it had been linked.

#![allow(unsafe_code)]

use crate::observers::Progress;
use std::env;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// Names the folder of a PyTorch whose CUDA libraries are to be used; else the active Python is asked.
const CUDA_TORCH: &str = "UNTANGLE_CUDA_TORCH";

/// Prints the folder of the active Python's torch without importing it.
const FIND_TORCH: &str =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";

/// The git revision of the libtorch that this binary was linked against, empty if unknown.
const LINKED_BUILD: &str = match option_env!("UNTANGLE_TORCH_BUILD") {
    Some(revision) => revision,
    None => "",
};

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// The first CUDA device that can be used, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cuda = |rest: &str| match rest {
            "" => Some(0),
            rest => rest.strip_prefix(':')?.parse().ok(),
        };
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            _ => text
                .strip_prefix("cuda")
                .and_then(cuda)
                .map(DeviceChoice::Cuda)
                .ok_or("use auto, cpu, cuda or cuda:N".into()),
        }
    }
}

/// The device to use. Must run before the first tensor call: libtorch looks for CUDA once.
///
/// Falls back to the CPU with one line that says why, where CUDA was asked for or the machine has an NVIDIA device.
pub(crate) fn resolve(choice: DeviceChoice, progress: &Progress) -> tch::Device {
    let index = match choice {
        DeviceChoice::Cpu => return tch::Device::Cpu,
        DeviceChoice::Auto if !Path::new("/dev/nvidiactl").exists() => return tch::Device::Cpu,
        DeviceChoice::Auto => 0,
        DeviceChoice::Cuda(index) => index,
    };
    match bring_cuda().and_then(|()| check_index(index)) {
        Ok(()) => tch::Device::Cuda(index),
        Err(why) => {
            progress.warning(&format!("using the CPU, since CUDA is not available: {why}"));
            tch::Device::Cpu
        }
    }
}

fn check_index(index: usize) -> Result<(), String> {
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    match usize::try_from(count) {
        Ok(count) if index < count => Ok(()),
        _ => Err(format!("libtorch sees {count} CUDA devices and cuda:{index} was asked for")),
    }
}

/// Makes CUDA available to the linked libtorch, unless it was linked with it.
fn bring_cuda() -> Result<(), String> {
    if option_env!("UNTANGLE_TORCH_HAS_CUDA") == Some("1") {
        return Ok(());
    }
    let folder = find_torch()?;
    let build = torch_build(&folder)?;
    if LINKED_BUILD.is_empty() || build != LINKED_BUILD {
        let expected = if LINKED_BUILD.is_empty() { "an unknown build" } else { LINKED_BUILD };
        return Err(format!("{} is PyTorch build {build}, untangle is linked to {expected}", folder.display()));
    }
    open_globally(&folder.join("lib/libtorch_cuda.so"))
}

fn find_torch() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os(CUDA_TORCH) {
        return Ok(folder.into());
    }
    let none =
        || format!("no PyTorch found: set {CUDA_TORCH} to the torch folder of a PyTorch of build {LINKED_BUILD}");
    let output = Command::new("python3").args(["-c", FIND_TORCH]).output().map_err(|_| none())?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if folder.is_empty() { Err(none()) } else { Ok(folder.into()) }
}

fn torch_build(folder: &Path) -> Result<String, String> {
    let file = folder.join("version.py");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let revision = text.lines().find_map(|line| line.strip_prefix("git_version = '")?.split('\'').next());
    revision.map(str::to_owned).ok_or_else(|| format!("{} names no git_version", file.display()))
}

/// Opens a library with all symbols bound now and visible to everything loaded later. It stays open for good.
fn open_globally(library: &Path) -> Result<(), String> {
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|_| "the path holds a zero byte".to_owned())?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call. Opening runs the library's initialisers, which
    // register CUDA with the libtorch_cpu.so that is loaded already: the caller has compared the two builds, so they
    // agree on every type and symbol. The handle is never closed, so nothing registered can dangle.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() { Err(last_dl_error()) } else { Ok(()) }
}

fn last_dl_error() -> String {
    // SAFETY: dlerror returns null or a NUL-terminated string that stays valid until this thread's next dl call; it is
    // copied before that.
    let text = unsafe {
        let text = libc::dlerror();
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    };
    text.unwrap_or_else(|| "dlopen failed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_pytorch_writes_them() {
        let parse = |text: &str| text.parse::<DeviceChoice>().ok();
        assert_eq!(parse("auto"), Some(DeviceChoice::Auto));
        assert_eq!(parse("cpu"), Some(DeviceChoice::Cpu));
        assert_eq!(parse("cuda"), Some(DeviceChoice::Cuda(0)));
        assert_eq!(parse("cuda:3"), Some(DeviceChoice::Cuda(3)));
        for wrong in ["", "gpu", "cuda:", "cuda3", "cuda:-1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_linked_build_is_known() {
        assert_eq!(LINKED_BUILD.len(), 40, "a git revision, not `{LINKED_BUILD}`");
    }
}
