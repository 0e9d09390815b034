//! Files of the project: root, discovery, confinement to the root, digests.

pub mod objects;
