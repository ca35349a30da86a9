"""What pyarrow finds in a Parquet file, as JSON: python parquet_file.py FILE

{"groups": .., "types": {column: type}, "rows": [{column: value}]}; of a list that is long, its length
"""

import json
import math
import sys

import pyarrow.parquet


def plain(value):
    """Any value as JSON has it; what is not a finite number is text."""
    if isinstance(value, list):
        return [plain(entry) for entry in value] if len(value) < 100 else len(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


file = pyarrow.parquet.ParquetFile(sys.argv[1])
table = file.read()
print(
    json.dumps(
        {
            "groups": file.num_row_groups,
            "types": {field.name: str(field.type) for field in table.schema},
            "rows": [
                {name: plain(value) for name, value in row.items()} for row in table.to_pylist()
            ],
        }
    )
)
