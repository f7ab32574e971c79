//! What the laws do not say: the words of the index, and the cases in which a job could be lost.

mod losses;
mod words;
