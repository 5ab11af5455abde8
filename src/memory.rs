//! The process's memory: how much it has, and giving back what it does not need.
//!
//! Left to itself, glibc keeps most of what a flood of small requests has taken, for ever.
#![allow(unsafe_code)]

use std::fs;

#[cfg(target_env = "gnu")]
use nix::libc;

/// Free memory at the end of a heap from which on it is given back at once: glibc's own start value, which it raises a
/// hundredfold with the first large block.
#[cfg(target_env = "gnu")]
const TRIM_BYTES: libc::c_int = 128 << 10;
/// Blocks from this size on are mapped and unmapped one by one, which a hundred threads do in each other's way: glibc's
/// 128 KB made a polite client wait three times as long beside heads without end.
#[cfg(target_env = "gnu")]
const MAP_BYTES: libc::c_int = 4 << 20;

/// Resident memory in KiB; 0 where the kernel does not say.
pub fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}

/// Tells the allocator to keep little. For the start of the process.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes numbers and no pointers.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES);
    }
}

/// Gives back all that is free; takes some milliseconds for a hundred megabytes.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
