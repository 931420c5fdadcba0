//! The life of volumes on a real API server, with a storage driver of the tests' own: claims come, grow, stay and go, and
//! what is somebody else's is never written to.

mod fixture;
mod life;
mod trouble;
