"""Search indexes of a project, asked for passages by the rooms above."""
