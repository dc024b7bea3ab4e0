//! What is read of host logs.

mod truth;
