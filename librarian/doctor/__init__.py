"""`manage.py doctor`: everything of a site that an operator would look at, looked at, with its remedy.

Changes nothing and tells no secret. Each floor knows how its own things are looked at; here stand the examinations of
the site as a whole, and what brings them all together.
"""
