//! Nothing is noted: what stands in for `recorder` where the feature is off.

use std::io::Result;
use std::os::fd::BorrowedFd;
use std::path::Path;

#[inline(always)]
pub const fn created(_path: &Path, _file: BorrowedFd<'_>) {}

#[inline(always)]
pub const fn wrote(_file: BorrowedFd<'_>, _offset: u64, _bytes: &[u8]) {}

#[inline(always)]
pub const fn length(_file: BorrowedFd<'_>, _bytes: u64) {}

#[inline(always)]
pub const fn synced(_file: BorrowedFd<'_>) {}

#[inline(always)]
pub const fn sync_failed(_file: BorrowedFd<'_>) {}

#[inline(always)]
pub fn renamed(_from: &Path, _to: &Path, rename: impl FnOnce() -> Result<()>) -> Result<()> {
    rename()
}

#[inline(always)]
pub fn removed(_path: &Path, remove: impl FnOnce() -> Result<()>) -> Result<()> {
    remove()
}

#[inline(always)]
pub fn directory_made(_path: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    make()
}

#[inline(always)]
pub fn linked(_from: &Path, _to: &Path, link: impl FnOnce() -> Result<()>) -> Result<()> {
    link()
}

#[inline(always)]
pub fn directory_synced(_directory: &Path, sync: impl FnOnce() -> Result<()>) -> Result<()> {
    sync()
}
