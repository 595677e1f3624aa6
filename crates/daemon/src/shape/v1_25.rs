//! Before 1.25: images were filtered by a parameter of its own.

use api::filters::Filters;

/// Takes the pattern for names from the parameter `filter`.
pub fn list_images(filters: &mut Filters, pattern: &str) {
    if !pattern.is_empty() && !filters.contains("reference") {
        filters.add("reference", pattern);
    }
}
