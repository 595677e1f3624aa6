//! Durable records in one transactional database.
