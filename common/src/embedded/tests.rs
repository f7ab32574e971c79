//! Tests of what is particular to this adapter; the laws of the seams are in `contract`.
