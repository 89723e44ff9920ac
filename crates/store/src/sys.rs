//! Which system calls does the crate need that the standard library lacks?
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

/// Reserves the first `size` bytes of `file` on disk, so that later writes into them cannot run out of space.
///
/// # Errors
/// What the system says; [`io::ErrorKind::Unsupported`] where the file system or the platform cannot reserve.
#[cfg(target_os = "linux")]
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let length = libc::off_t::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    loop {
        // SAFETY: the descriptor belongs to `file`, which outlives the call; no memory is passed.
        let status = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) };
        let error = match status {
            0 => return Ok(()),
            _ => io::Error::last_os_error(),
        };
        match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            _ => return Err(error),
        }
    }
}

/// Reserving is not supported on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Tells the system that a range of `file` will be read soon, so that the disk is at work before it is. A hint: nothing
/// depends on whether it is heeded.
#[cfg(target_os = "linux")]
pub(crate) fn will_need(file: &File, offset: u64, len: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(len)) = (libc::off_t::try_from(offset), libc::off_t::try_from(len)) else { return };
    // SAFETY: the descriptor belongs to `file`, which outlives the call; no memory is passed.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, len, libc::POSIX_FADV_WILLNEED) };
}

/// The platform takes no hints.
#[cfg(not(target_os = "linux"))]
pub(crate) fn will_need(_: &File, _: u64, _: u64) {}

/// Bytes that the file system of `path` has left for this user.
pub(crate) fn available(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    // SAFETY: an all-zero statvfs is a valid value of that plain C struct.
    let mut info: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a NUL-terminated string and `info` a writable statvfs; both outlive the call.
    match unsafe { libc::statvfs(path.as_ptr(), &mut info) } {
        0 => Ok((info.f_bavail as u64).saturating_mul(info.f_frsize as u64)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets `a` and `b`, which exist both, change places in one step.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the file system or the platform has no such operation.
#[cfg(target_os = "linux")]
pub(crate) fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    rename_with(a, b, libc::RENAME_EXCHANGE)
}

/// Not supported on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Renames `from` to `to`, which must not exist.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where `to` exists, [`io::ErrorKind::Unsupported`] where the file system or the
/// platform has no such operation.
#[cfg(target_os = "linux")]
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_with(from, to, libc::RENAME_NOREPLACE)
}

#[cfg(target_os = "linux")]
fn rename_with(from: &Path, to: &Path, flags: libc::c_uint) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both paths are NUL-terminated strings that outlive the call.
    let status = unsafe { libc::renameat2(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) };
    let error = match status {
        0 => return Ok(()),
        _ => io::Error::last_os_error(),
    };
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(error),
    }
}

/// Not supported on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
