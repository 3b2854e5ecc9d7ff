//! The small ordered key-value seam the stores stand on.
