"""The catalogue: what datasets there are, who keeps them, and how each is opened.

A dataset is described by a STAC item in the bucket that the dataset is in: all of a bucket's items in one object for
its owner, those that are published in another for everybody. So whoever may write the data may write its item, and
nobody else; and an item is believed of data in its own bucket only.
"""
