//! Large lists in large pages.
//!
//! A key of 200 MB lies in 50,000 pages of 4 KB, more than a processor remembers the addresses of,
//! and every batch of lookups reads all of it. On Linux we ask for pages of 2 MB; elsewhere nothing
//! changes but the time.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use aligned_vec::AVec;
use bytemuck::Pod;
use memmap2::MmapMut;

/// A list of fixed length that starts at a line of the cache, zeros at first.
pub(crate) struct Pages<T> {
    memory: Memory,
    bytes: usize,
    of: PhantomData<T>,
}

enum Memory {
    Mapped(MmapMut),
    Heap(AVec<u8>),
}

impl<T: Pod> Pages<T> {
    pub(crate) fn zeros(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let memory = match MmapMut::map_anon(bytes.max(1)) {
            Ok(map) => {
                // A refusal costs time only.
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Memory::Mapped(map)
            }
            Err(_) => Memory::Heap(AVec::from_iter(
                aligned_vec::CACHELINE_ALIGN,
                std::iter::repeat_n(0, bytes),
            )),
        };
        Self { memory, bytes, of: PhantomData }
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes: &[u8] = match &self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(list) => list,
        };
        bytemuck::cast_slice(&bytes[..self.bytes])
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes: &mut [u8] = match &mut self.memory {
            Memory::Mapped(map) => map,
            Memory::Heap(list) => list,
        };
        bytemuck::cast_slice_mut(&mut bytes[..self.bytes])
    }
}
