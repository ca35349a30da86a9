"""Reads an XML file, and prints the text of its elements."""

import sys
import xml.etree.ElementTree

print("\n".join(xml.etree.ElementTree.parse(sys.argv[1]).getroot().itertext()))
