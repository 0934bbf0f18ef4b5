"""The library that draws charts in the browser; this file, run as a script, writes it.

To put it together takes a second, in which no other thread of the process could go on.
"""

from __future__ import annotations

import sys

import vl_convert

if __name__ == "__main__":
    sys.stdout.buffer.write(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode())
