"""What people get to see of a slide: tables, pictures, pages."""
