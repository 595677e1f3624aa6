//! Client of image registries (OCI distribution specification).
