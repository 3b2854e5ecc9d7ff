//! What a bookmark subscription has received and discarded, and where it resumes.
