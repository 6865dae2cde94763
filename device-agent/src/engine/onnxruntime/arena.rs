//! How much memory predictions may take in ONNX Runtime: all sessions together, besides their weights. The bindings have
//! no safe way to say so, hence the few calls of the library's own interface here.

#![allow(unsafe_code)]

use std::ptr;

use ort::AsPointer as _;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};

/// Regions are as large as asked for, so that small models take little.
const SAME_AS_REQUESTED: usize = 1;

/// Makes sessions that use the environment's allocators share one arena of at most so many bytes.
///
/// # Errors
/// When the library refuses.
pub(super) fn bound(environment: &mut Environment, bytes: usize) -> Result<(), ort::Error> {
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let keys = [c"max_mem".as_ptr(), c"arena_extend_strategy".as_ptr()];
    let values = [bytes, SAME_AS_REQUESTED];
    let mut config = ptr::null_mut();
    let api = ort::api();
    // SAFETY: keys and values are of the length that is told, keys end with a zero, and both outlive the call, which
    // copies them. It sets `config` where it succeeds.
    unsafe {
        let made = (api.CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &raw mut config);
        ort::Error::result_from_status(made)?;
    }
    // SAFETY: the environment and the memory's description are alive as long as their owners here, `config` was made
    // above, the call keeps none of the latter two, and `config` is given back once.
    unsafe {
        let registered = (api.CreateAndRegisterAllocator)(environment.ptr_mut(), info.ptr(), config);
        (api.ReleaseArenaCfg)(config);
        ort::Error::result_from_status(registered)
    }
}
