//! Memory of the C libraries, wiped when they free it.
//!
//! What Rust frees is wiped by the program's allocator. BoringSSL wipes what it takes for secret,
//! which the records it reads from the network are not: it opens them in place and frees them with
//! `free` as they are, and a record of a merchant holds a card. The security module's library has
//! habits of its own. So `free` is replaced by one that wipes first, as `sync_file_range` is by one
//! that syncs.

#![expect(unsafe_code, reason = "a function of the C library is replaced")]

use std::ffi::c_void;

// SAFETY: both are as the C library declares them.
unsafe extern "C" {
    /// The C library's own `free`, which glibc exports for those who replace the usual name.
    fn __libc_free(block: *mut c_void);
    fn malloc_usable_size(block: *mut c_void) -> usize;
}

/// Wipes a block of memory and gives it back.
///
/// # Safety
/// As for the C library's `free`: `block` is null, or came from its `malloc` and is used no more.
// SAFETY: no other function of this program has the name; that it stands in the place of the C
// library's is the purpose.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: the block came from `malloc`, so that all of its usable size may be written, and it is
    // the caller's to give up. What `__libc_free` does with it the compiler does not know, so it
    // cannot leave the writing out.
    unsafe {
        block.cast::<u8>().write_bytes(0, malloc_usable_size(block));
        __libc_free(block);
    }
}
