"""From the catalogue to the finished site: derive, render, stamp, export."""
