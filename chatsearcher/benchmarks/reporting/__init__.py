"""Results for people to read: one HTML page (``page``), and Markdown tables over seeds (``seeds``).

``reading`` takes the results files in, ``tables``, ``curves`` and ``examples`` are the page's
parts, ``published`` holds the figures of papers and public evaluators that are set beside.
"""
