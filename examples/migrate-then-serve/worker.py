"""Read the notes every now and then."""

import json
import os
import time
import urllib.request

url = os.environ["SERVER_URL"] + "/notes"
while True:
    with urllib.request.urlopen(url, timeout=5) as answer:
        print(f"read {len(json.load(answer))} notes")
    time.sleep(30)
