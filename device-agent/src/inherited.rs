//! Descriptors that the agent was started with: the program that starts it may have left some open. They are not
//! handed on.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use rustix::io::{FdFlags, fcntl_setfd};

/// Keeps all descriptors but standard input, output and error from the processes that this one starts. What the agent
/// itself opens is kept from them anyway.
pub fn keep_descriptors() {
    // Without a list there is nothing to be done; a system without /proc starts no workers either.
    let Ok(list) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|&number| number > 2) {
        // SAFETY: the number is used for this call alone, which sets a flag of the descriptor if there is one of this number
        // and touches no memory.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // The list's own descriptor may be closed by now.
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
}
